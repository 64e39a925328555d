"""The service as its users run it: a process of its own, administered by its commands."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TypeAlias

from producer_tools.errors import ResyncToolError
from producer_tools.sandbox.demo import PACKAGE_PREFIX

COMMANDS_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
LAST_WORDS: Final = 20
"""Lines of a log that are shown when something went wrong."""

Command: TypeAlias = tuple[Sequence[str], str]
"""Arguments of ``mirakl-resync-consumer``, and what stands in its input."""


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: ours, with only its ``own`` settings. No real Kafka is touched."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RESYNC_")}
    return inherited | dict(own)


class Service:
    """A program of ours in ``folder``; what it logs goes to ``folder``/``log``, and to ``echo``.

    ``program``: package and command, as ``python -m`` takes them.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        folder: Path,
        echo: Callable[[str], None] | None = None,
        *,
        program: tuple[str, str] = ("consumer", "run"),
        log: str = "service.log",
    ) -> None:
        package, *self._arguments = program
        self._module = PACKAGE_PREFIX + package
        self._log = folder / log
        self._environment = environment(settings)
        self._folder = folder
        self._echo = echo
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def administer(self, commands: Sequence[Command]) -> list[str]:
        """Run commands of the administration, one after the other; what each prints."""
        try:
            done = subprocess.run(  # noqa: S603 - our own module, by this interpreter
                [sys.executable, "-m", f"{__package__}.administration"],
                input=json.dumps(commands),
                capture_output=True,
                text=True,
                timeout=COMMANDS_SECONDS,
                check=False,
                env=self._environment,
                cwd=self._folder,
                process_group=0,  # Ctrl-C reaches only the demo, which ends the others in order
            )
        except subprocess.TimeoutExpired:
            raise ResyncToolError(f"The service's administration did not end within {COMMANDS_SECONDS:g} s.") from None
        if done.returncode:
            raise ResyncToolError(f"The service's administration ended with {done.returncode}: {done.stderr.strip()}")
        printed: list[str] = json.loads(done.stdout)
        return printed

    def start(self) -> None:
        """Start the service as a process of its own; returns at once."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            [sys.executable, "-m", self._module, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            cwd=self._folder,
            process_group=0,
        )
        self._reader = threading.Thread(
            target=self._keep_log, args=(self._process.stdout,), name="service-log", daemon=True
        )
        self._reader.start()

    def check(self) -> None:
        """Raise ``ResyncToolError``, with its last words, where it has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ResyncToolError(f"The {self._log.stem} {how}. {self.last_words()}")

    def stop(self) -> int:
        """Ask it to end in order (SIGTERM); its exit code."""
        if self._process is None:
            raise RuntimeError("the service was never started")
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise ResyncToolError(
                f"{self._module} did not end within {STOP_SECONDS:g} s. {self.last_words()}"
            ) from None

    def kill(self) -> None:
        """End it at once, if it still runs: nothing in it is worth keeping."""
        if self._process is None or self._reader is None:
            return
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def last_words(self) -> str:
        """Return the end of the service's log, for people who have to find out what went wrong."""
        if self._reader is not None:
            self._reader.join(1.0)  # an ended process leaves some lines in the pipe
        words = "".join(f"  {line}\n" for line in self._last_words)
        return f"The end of its log:\n{words or '  (nothing)'}".rstrip()

    def _keep_log(self, lines: IO[str]) -> None:
        with self._log.open("a", encoding="utf-8") as log, lines:
            for line in lines:
                log.write(line)
                log.flush()
                self._last_words.append(line.rstrip())
                if self._echo:
                    self._echo(line.rstrip())
