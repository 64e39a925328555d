"""Errors of the schema registry."""

from http import HTTPStatus

from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode


class RegistryError(ExplainedError):
    """The registry gave no usable answer. ``status`` is its HTTP status; ``None``: not reached, or not in time."""

    def __init__(self, problem: str, remedy: str, status: int | None = None) -> None:
        super().__init__(problem, remedy)
        self.status = status

    @property
    def unreachable(self) -> bool:
        """Whether the registry is unavailable; another refusal is about the question or the credentials."""
        return self.status is None or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def exit_code(self) -> ExitCode:  # type: ignore[override] # depends on the status
        return ExitCode.UNREACHABLE if self.unreachable else ExitCode.USAGE


class SchemaNotRegisteredError(ExplainedError):
    """The registry does not have one of our schemas. The remedy names `mirakl-resync-consumer schemas register`."""

    def __init__(self, subject: str) -> None:
        super().__init__(
            f"The schema registry has no schema of ours under {subject}.",
            "Register it with `mirakl-resync-consumer schemas register`.",
        )
