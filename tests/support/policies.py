"""Policies with other numbers, so that a test does not wait as long as the service would."""

from dataclasses import replace
from importlib import import_module
from types import ModuleType

import pytest


def adjust(monkeypatch: pytest.MonkeyPatch, module: ModuleType | str, policy: str, **numbers: float) -> None:
    """Replace numbers of a policy as one module sees it, until the test ends.

    ``module``: the module that uses the numbers, or its dotted name; ``policy``: the policy's name in that module.
    """
    owner = import_module(module) if isinstance(module, str) else module
    monkeypatch.setattr(owner, policy, replace(getattr(owner, policy), **numbers))
