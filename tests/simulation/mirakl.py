"""The simulated Mirakls: one behind each client specification, each with its moods."""

from dataclasses import dataclass, field
from random import Random

from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.domain.model import ClientSpecification
from tests.simulation.scenario import POISON, Regime, Shop

_STEADY = (0.8, 1.0, 1.2)
_UNSTEADY = (0.5, 1.0, 1.0, 1.5, 4.0)


_MOODS: dict[str, CallOutcome] = {
    "503": CallFailure("HTTP 503", may_have_reached=False, status=503),
    "504": CallFailure("HTTP 504", may_have_reached=True, status=504),
    "refused": CallFailure("connection refused", may_have_reached=False),
    "lacking": CallFailure("no connection", may_have_reached=False, ours="no file descriptor is left"),
    "reset": CallFailure("connection reset", may_have_reached=True),
    "no id": Unacknowledged(200, "OK"),
    "unauthorized": Refusal(403, "forbidden"),
}
_TOOK_IT_PERHAPS = frozenset({"504", "hang"})
TAKEN_IN_SHARE = 0.5
"""Of the calls that a gateway or a time-out gave up."""


@dataclass(slots=True, eq=False)
class SentCall:
    """A CM21 call, as it was sent and as it ended."""

    number: int
    specification: ClientSpecification
    products: dict[str, str]
    owner: str
    started: float
    outcome: CallOutcome | None = None
    ended: float | None = None
    taken_in: bool = False


@dataclass(slots=True)
class Mirakl:
    """All of them; what they took in is remembered by tracking id."""

    shops: dict[str, Shop]
    rng: Random
    call_timeout: float
    credentials: dict[str, str]
    taken_in: dict[str, SentCall] = field(default_factory=dict)

    def receive(self, call: SentCall, now: float) -> tuple[float, CallOutcome]:
        """Decide about a call: seconds until its outcome is known, and the outcome."""
        shop = self.shops[call.specification.id]
        regime = next((each for each in shop.regimes if each.start <= now < each.end), None)
        seconds = shop.pace * self.rng.choice(_STEADY if shop.steady else _UNSTEADY)
        outcome: CallOutcome | None = None
        if regime is not None:
            seconds, outcome = self._misbehave(call, shop, regime, seconds, now)
        if outcome is None:
            outcome = self._answer(call, shop)
        if seconds > self.call_timeout:
            return self.call_timeout, CallFailure("no answer in time", may_have_reached=True)
        return seconds, outcome

    def _answer(self, call: SentCall, shop: Shop) -> CallOutcome:
        if call.specification.credential != self.credentials[call.specification.id]:
            return Refusal(401, "wrong credential")
        if any(id_.startswith(POISON) for id_ in call.products):
            return Refusal(shop.refuses_with, "poisoned")
        if shop.largest_call is not None and len(call.products) > shop.largest_call:
            return Refusal(413, "too large")
        return Receipt(self._take_in(call))

    def _take_in(self, call: SentCall) -> str:
        call.taken_in = True
        tracking_id = f"t{call.number}"
        self.taken_in[tracking_id] = call
        return tracking_id

    def _misbehave(
        self, call: SentCall, shop: Shop, regime: Regime, seconds: float, now: float
    ) -> tuple[float, CallOutcome | None]:
        """Seconds and outcome of a call in a bad time; no outcome: it is answered as always."""
        if regime.kind in _TOOK_IT_PERHAPS and self.rng.random() < TAKEN_IN_SHARE:
            self._take_in(call)
        match regime.kind:
            case "429":
                return seconds, CallFailure(
                    "HTTP 429", may_have_reached=False, status=429, retry_after=regime.seconds or None
                )
            case "hang":
                return self.call_timeout * 2, Unacknowledged(200, "never heard")
            case "reset after":
                answered = isinstance(self._answer(call, shop), Receipt)
                return seconds, _MOODS["reset"] if answered else None
            case "hiccup":
                return regime.end - now + seconds, None
            case "slow":
                return seconds + regime.seconds, None
            case _:
                return seconds, _MOODS[regime.kind]
