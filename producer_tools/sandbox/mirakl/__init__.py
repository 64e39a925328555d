"""A simulated Mirakl: CM21, CM22 and CM23 over real HTTP, strict, with faults that can be scripted.

One process plays any number of Mirakl *instances*: below ``/c/<name>`` each, or told apart by their credential.

::

    async with MiraklSimulator().serving() as mirakl:
        mirakl.add_fault(Fault(effect=Effect.STATUS, status=429, retry_after="2", count=1), instance="acme")
        ...  # point a client specification at mirakl.url("acme")
        assert mirakl.journal.missing(tracking_ids, products) == {}
        assert not mirakl.violations

As a program: ``python -m producer_tools.sandbox.mirakl --help``; while it runs, ``/_control`` does the same as JSON.
"""

from producer_tools.sandbox.mirakl.faults import Body, Effect, Fault
from producer_tools.sandbox.mirakl.journal import Journal, Submission
from producer_tools.sandbox.mirakl.rules import Latency, Processing, Rules
from producer_tools.sandbox.mirakl.simulator import MiraklSimulator

__all__ = [
    "Body",
    "Effect",
    "Fault",
    "Journal",
    "Latency",
    "MiraklSimulator",
    "Processing",
    "Rules",
    "Submission",
]
