"""Errors of the brokers, divided by the remedy.

::

    KafkaTroubleError
    ├── BrokerUnreachableError  no broker answers, or none answers this program
    └── BrokerRefusedError      a broker answers, and refuses
        └── NotLetInError       credentials, certificates or protocol are wrong
"""

from typing import Final

from consumer.adapters.kafka.refusals import Refusal
from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode

REMEDY_UNREACHABLE: Final = (
    "Start the broker, or correct RESYNC_KAFKA__BOOTSTRAP_SERVERS (for TLS and SASL: RESYNC_KAFKA__PROPERTIES)."
)
REMEDY_SILENT: Final = (
    "Something listens there and does not answer us: correct security.protocol and sasl.mechanisms in "
    "RESYNC_KAFKA__PROPERTIES, or look at the broker."
)

REMEDY_REFUSED: Final = "Correct what it objects to, or ask for the right (ACL)."


class KafkaTroubleError(ExplainedError):
    """The brokers did not do what a command or the start requested. The subclasses tell the remedies apart."""


class BrokerUnreachableError(KafkaTroubleError):
    """No broker answered in time. Exit code 6: the same command may succeed later."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, problem: str, remedy: str = REMEDY_UNREACHABLE) -> None:
        super().__init__(problem, remedy)


class BrokerRefusedError(KafkaTroubleError):
    """A broker answered, and refused: a right, a limit or a setting has to be changed first."""

    exit_code = ExitCode.USAGE


class NotLetInError(BrokerRefusedError):
    """The brokers do not accept our connection: credentials, certificates or protocol are wrong."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.problem, refused.remedy)
