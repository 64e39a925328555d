"""``python -m producer_tools.sandbox.demo.administration``: many commands of the service in one interpreter.

A command on its own spends 0.6 s on imports, fifteen of them more than all the rest of the demo. Reads a JSON list of
``[arguments, input]`` from stdin, runs each as ``python -m consumer`` would, and writes the JSON list of what they
printed. The first one that fails ends it with its exit code and its words on stderr.
"""

import json
import runpy
import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper

from producer_tools.sandbox.demo import PACKAGE_PREFIX


def run(arguments: list[str], given: str) -> str:
    """Run one command; what it prints. Raises ``SystemExit`` where it fails."""
    sys.argv[1:] = arguments
    sys.stdin = TextIOWrapper(BytesIO(given.encode()))
    with redirect_stdout(StringIO()) as printed:
        try:
            runpy.run_module(f"{PACKAGE_PREFIX}consumer", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                raise
    return printed.getvalue().strip()


if __name__ == "__main__":
    print(json.dumps([run(arguments, given) for arguments, given in json.load(sys.stdin)]))  # noqa: T201  its answer
