"""Notifications of Alertmanager (webhook version 4) and Grafana (webhook version 1).

They are read leniently: unknown fields are ignored, and one alert that cannot be used does not affect the others.

Sources: Alertmanager, "Configuration", ``webhook_config``; Grafana, "Configure the webhook notifier".
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from producer_tools.alerts.policy import ALERTS

MAX_ALERTS: Final = 10_000
"""Alerts in one notification, by the contract."""

_VERSIONS: Final = ("4", "1")
"""Alertmanager's and Grafana's."""


def _unicode(text: str) -> str:
    """JSON can escape half of a surrogate pair, which is not text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode text") from None
    return text


Text = Annotated[str, AfterValidator(_unicode)]


def _a_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time such as 2026-01-31T08:00:00Z") from None
    if time.tzinfo is None:
        raise ValueError("is a time without an offset")
    return text


def _or_empty(given: object) -> object:
    """Go writes a map that was never made as null."""
    return {} if given is None else given


Texts = Annotated[dict[Text, Text], BeforeValidator(_or_empty)]


class Alert(BaseModel):
    """One alert of a notification, with the fields that both Alertmanager and Grafana send."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    status: Literal["firing", "resolved"]
    fingerprint: Text = Field(min_length=1, max_length=255)
    """Identity of the alert: a hash of its labels, made by the sender."""
    starts_at: Annotated[str, AfterValidator(_a_time)] = Field(alias="startsAt")
    """RFC 3339, as given: Alertmanager writes nanoseconds, which a ``datetime`` cannot hold."""
    labels: Texts = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)

    @property
    def started(self) -> datetime:
        """The start as an aware time, cut to microseconds, to reckon ``again_after`` from."""
        return datetime.fromisoformat(self.starts_at)


@dataclass(frozen=True, slots=True)
class InvalidAlert:
    """An alert that cannot be used, with the reason and the fingerprint if it has one. The others are not affected."""

    fingerprint: str | None
    message: str
    """Names the field."""


@dataclass(frozen=True, slots=True)
class Notification:
    """The alerts of one call, in their order, and how many the sender has left out."""

    alerts: tuple[Alert | InvalidAlert, ...]
    truncated: int = 0
    """Alerts that the sender left out because of its own limit (``max_alerts``)."""


@dataclass(frozen=True, slots=True)
class NotANotification:
    """Permanent reason for refusing a whole body: it is not a webhook of Alertmanager or Grafana."""

    message: str
    too_large: bool = False


def read_notification(body: object) -> Notification | NotANotification:
    """Return the notification in a parsed JSON body, or why it is not one."""
    if not isinstance(body, dict) or body.get("version") not in _VERSIONS:
        return NotANotification('The field version is neither "4", as of Alertmanager, nor "1", as of Grafana')
    alerts = [] if body.get("alerts") is None else body["alerts"]
    if not isinstance(alerts, list):
        return NotANotification("The field alerts is not a list")
    if len(alerts) > MAX_ALERTS:
        return NotANotification(
            f"The notification has {len(alerts):,} alerts, more than {MAX_ALERTS:,}: "
            "set max_alerts in the sender, or group alerts by more labels",
            too_large=True,
        )
    truncated = body.get("truncatedAlerts")
    return Notification(
        tuple(_alert(number, item) for number, item in enumerate(alerts)),
        truncated if isinstance(truncated, int) and truncated > 0 else 0,
    )


def _alert(number: int, item: object) -> Alert | InvalidAlert:
    try:
        return Alert.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join((f"alerts[{number}]", *map(str, first["loc"])))
        return InvalidAlert(_fingerprint(item), f"{field[: ALERTS.field_characters]}: {_complaint(first['msg'])}.")


def _fingerprint(item: Any) -> str | None:  # noqa: ANN401 - whatever a body holds
    found = item.get("fingerprint") if isinstance(item, dict) else None
    return found[:255].encode(errors="replace").decode() if isinstance(found, str) else None


def _complaint(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be", 1)
