"""Numbers of the library and of the command line, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ToolsPolicy:
    """Times, and bounds on what is kept, asked and shown, of library and command line."""

    connect_seconds: float = 10.0
    """For the first answer of the brokers."""
    attempt_seconds: float = 1.0
    """One question to the brokers; short, since Ctrl-C is only noticed between two questions."""
    retry_seconds: float = 0.1
    """Between two questions if the first was answered immediately, but with an error."""
    delivery_milliseconds: int = 15_000
    """For the brokers to acknowledge a record."""
    end_seen_milliseconds: int = 100
    """For which a broker waits for more records before it reports the end of a partition."""
    partition_fetch_bytes: int = 64 << 10
    """Bytes of one partition in one answer, or one batch if that is larger. All of it is decompressed at once, so this
    bounds the size of decompressed batches together."""
    refresh_milliseconds: int = 10_000
    """Between two refreshes of partition leaders; librdkafka's default of 5 minutes is long for a person."""
    unknown_topic_seconds: float = 2.0
    """For which a topic may be unknown: a new one is not known to every broker immediately."""
    growth_seconds: float = 5.0
    """Between two searches for new partitions while following."""
    stall_seconds: float = 10.0
    """Of silence, after which a reader that is not at the end checks that the brokers still answer."""
    sender_poll_seconds: float = 0.1
    """One wait for acknowledgements, between which Ctrl-C and an interruption by the caller are noticed."""
    fatal_error_seconds: float = 2.0
    """For the sender's thread to learn of a fatal error that a record met before it; it polls all the time."""
    renewal_seconds: float = 1.0
    """Between a fatal error of a producer and the next producer: a right that is missing stays so for a while."""
    trial_seconds: float = 3.0
    """After which a new producer that met no fatal error counts as usable: it asks the brokers for its id at once."""
    poll_seconds: float = 0.2
    """One wait for a record, between which Ctrl-C and an end of the time are noticed."""
    ask_again_seconds: float = 30.0
    """For which "no such schema" is believed: a replica of the registry may lag behind."""
    missing_schemas: int = 10_000
    """Schemas known to be missing at a time; beyond, all are asked for again."""
    lookups: int = 100
    """Questions to the registry for schemas that records name, for one reader of requests: each is a wait."""
    names_compared: int = 50
    """Of a header or an object, where a name is missing: comparing takes its time."""
    reason_characters: int = 500
    """Of the original reason that a retry repeats."""
    retries: int = 200_000
    """Retries, and later successes, that are remembered for one portion of results. Further ones do not count, and the
    plan says so: to send twice is safe, to leave out is not."""
    groups: int = 1_000
    """Combinations of code, client specification and tenant that are told apart; further ones are counted together."""
    name_characters: int = 255
    """Of a code or a tenant that are kept: whoever writes results chooses them."""
    shown_bytes: int = 512
    """Of a value in the hex dump for people; ``--output json`` has all of them."""
    shown_groups: int = 50
    """Rows of the plan, the largest groups first; the sums below it count all."""
    look_seconds: float = 5.0
    """Between two looks, while sending, at what others have retried."""
    confirm_above: int = 500
    """Products that are sent without confirmation, by the contract."""
    names_shown: int = 20
    """In a message for people; the data contains all."""


TOOLS: Final = ToolsPolicy()
