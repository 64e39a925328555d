"""The caller's ``Prefer`` header (RFC 7240): how long to wait, and whether to respond before the result."""

from dataclasses import dataclass

from schemas.console.text import decimal

_MOST_SECONDS = 10**9


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a caller prefers (``Prefer``, RFC 7240), within the gateway's limits: how long to wait, and for what."""

    wait: float | None
    """Seconds; ``None``: the caller names no time."""
    respond_async: bool

    @property
    def applied(self) -> str | None:
        """Return the value of ``Preference-Applied``; ``None``: there is nothing to apply."""
        parts = ["respond-async"] if self.respond_async else []
        parts += [] if self.wait is None else [f"wait={self.wait:g}"]
        return ", ".join(parts) or None


def preferences(prefer: str, longest_wait: float) -> Preferences:
    """Read the header, all of its lines joined by commas; what is unknown or malformed is ignored, as RFC 7240 says.

    Of a repeated preference the first counts. A longer wait than ``longest_wait`` is cut to that.
    """
    found: dict[str, str] = {}
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    seconds = decimal(found.get("wait"), _MOST_SECONDS)
    return Preferences(None if seconds is None else min(float(seconds), longest_wait), "respond-async" in found)
