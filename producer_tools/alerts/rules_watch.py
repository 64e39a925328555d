"""The rules in force: read again when their file, or a file that it names, changes."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from producer_tools.alerts.policy import ALERTS
from producer_tools.alerts.rules import DefaultKey, Rules
from producer_tools.alerts.rules_file import load_rules, stamp
from producer_tools.errors import InvalidRequestError, Mistake

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class RulesWatch:
    """Holds the newest rules without mistakes.

    Making one reads them, and raises ``InvalidRequestError`` with every mistake.
    """

    def __init__(self, path: Path, default_key: DefaultKey) -> None:
        self._path = path
        self._default_key = default_key
        loaded = load_rules(path, default_key)
        if loaded.rules is None:
            raise InvalidRequestError(loaded.mistakes)
        self.rules: Rules = loaded.rules
        self.mistakes: Sequence[Mistake] = ()
        """Of the newest version of the file; not empty: the rules are those of an older one."""
        self._loaded = self._pending = loaded.files

    def check(self) -> None:
        """Read the rules again where the files have changed and are at rest. Blocks for as long as that takes."""
        found = {file: stamp(file) for file in self._loaded}
        at_rest = found == self._pending
        self._pending = found
        if found == self._loaded or not at_rest:
            return
        loaded = load_rules(self._path, self._default_key)
        self._loaded = self._pending = loaded.files
        self.mistakes = loaded.mistakes
        if loaded.rules is None:
            for mistake in loaded.mistakes:
                _log.error("alert rules have a mistake; the previous ones stay in force", mistake=str(mistake))
        else:
            self.rules = loaded.rules
            _log.info("alert rules read again", rules=len(loaded.rules.rules))

    async def run(self) -> None:
        """Look for changed rules, keys and product files until cancelled."""
        while True:
            await asyncio.sleep(ALERTS.rules_poll_seconds)
            await asyncio.to_thread(self.check)
