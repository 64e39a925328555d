"""The family of errors that people see: each says what happened, and what to do about it.

::

    ExplainedError
    ├── schemas.settings.SettingsError            all mistakes in the settings
    ├── schemas.registry.errors.RegistryError     the schema registry gave no usable answer
    ├── consumer.engine.ports.SourceError         a part of ours is unavailable; its records wait
    ├── consumer.adapters.stores.StoreError       the database is not usable
    ├── consumer.adapters.stores.AdministrationError, EncryptionKeysError
    ├── consumer.adapters.kafka.broker_errors.KafkaTroubleError   and its subclasses, by who has to act
    ├── consumer.adapters.kafka.consumer_errors.OwnerThreadError  the consumer cannot go on
    ├── schemas.process.health.AdminAddressError
    ├── consumer.cli.*                            of one command
    └── producer_tools.errors.ResyncToolError     and its subclasses, the library's own

The two texts are sentences and hold no secret. ``schemas.explanation`` alone joins them. Every other exception is a
defect and is shown with its traceback.
"""

from typing import ClassVar

from schemas.exit_codes import ExitCode
from schemas.explanation import sentences


class ExplainedError(Exception):
    """An expected failure, with ``problem`` and ``remedy`` as separate texts.

    ``str`` of it has both, as ``schemas.explanation`` joins them. Commands show it without a traceback and exit with
    ``exit_code``.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    """The exit code of a command that ends with this error."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(sentences(problem, remedy))
        self.problem = problem
        self.remedy = remedy


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a failure that a command reports itself; a defect counts as unexpected."""
    return error.exit_code if isinstance(error, ExplainedError) else ExitCode.FAILED
