"""Real parts in fixtures: started for a test and removed after it. A part that is missing skips the test.

With ``CI`` set it fails the test instead: there, what can be had must be had.
"""

import os
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import pytest

from tests.support.parts import Part, PartMissing

AnyPart = TypeVar("AnyPart", bound=Part)


def running(make: Callable[[], AnyPart]) -> Iterator[AnyPart]:
    """Yield a part that runs; remove it after that. ``make`` raises :class:`PartMissing`."""
    try:
        part = make()
    except PartMissing as missing:
        cannot_run(missing)
    try:
        part.start()
        yield part
    finally:
        part.remove()


def cannot_run(missing: PartMissing) -> NoReturn:
    """Skip the test at hand; fail it on CI."""
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))
