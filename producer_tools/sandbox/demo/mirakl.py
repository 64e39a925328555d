"""The simulated Mirakl on a thread of its own, with an instance for each client specification."""

import asyncio
import threading
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Final, Self

from producer_tools.errors import ResyncToolError
from producer_tools.sandbox.demo.cases import RIGHT_CREDENTIAL, Specification
from producer_tools.sandbox.mirakl import MiraklSimulator, Rules
from schemas.events import ProductReference

START_SECONDS: Final = 10.0
_AUTHORIZATION: Final = f"Bearer {RIGHT_CREDENTIAL}"


class SimulatedMirakl:
    """Serves on a free port of this machine until the block ends."""

    def __init__(self, specifications: Iterable[Specification]) -> None:
        self._simulator = MiraklSimulator(rules=Rules(authorization=(_AUTHORIZATION,)), shout=lambda _: None)
        for each in specifications:
            for fault in each.faults:
                self._simulator.add_fault(fault, each.name)
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-mirakl", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._serving.wait(START_SECONDS):
            raise ResyncToolError(
                f"The simulated Mirakl does not serve within {START_SECONDS:g} s: is this machine starved?"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def base_url(self) -> str:
        return self._simulator.base_url

    @property
    def violations(self) -> list[str]:
        """Return the calls that a resynchronization must never make, as the simulator saw them; empty: all is well."""
        return list(self._simulator.violations)

    @property
    def all_calls(self) -> int:
        """Return the number of CM21 calls for all client specifications."""
        return sum(instance.counters.calls for instance in self._simulator.instances)

    def url(self, specification: Specification) -> str:
        return self._simulator.url(specification.name)

    def calls(self, specification: Specification) -> int:
        return self._simulator.counters(specification.name).calls

    def missing(self, tracking_ids: Iterable[str], products: Collection[ProductReference]) -> int:
        """Return the number of products that Mirakl did not accept under these tracking ids."""
        pairs = {each.mirakl_product_id: each.product_sku for each in products}
        return len(self._simulator.journal.missing(tracking_ids, pairs))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with self._simulator.serving():
            self._serving.set()
            await self._end.wait()
