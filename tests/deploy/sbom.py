"""The bill of materials of the image, from its locks: CycloneDX 1.6 as JSON, on standard output.

It lists what the service installs besides its base image, with the hashes that the installer accepts. Programs that
look for known vulnerabilities read this form.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from consumer import __version__

LOCKS: Final = [Path(__file__).parents[2] / name for name in ("requirements.lock", "requirements-otel.lock")]
_PACKAGE: Final = re.compile(r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; (.+?))? \\$")
_HASH: Final = re.compile(r"^\s+--hash=sha256:([0-9a-f]{64})")


def locked_packages() -> str:
    """Return all that the image installs from its locks."""
    return "".join(lock.read_text() for lock in LOCKS)


def bill_of_materials(locked: str) -> dict[str, Any]:
    """Return the bill of the lock files' text; the same text gives the same bill."""
    components: list[dict[str, Any]] = []
    for line in locked.splitlines():
        if package := _PACKAGE.match(line):
            name, version, marker = package.groups()
            components.append(_component("library", name, version))
            if marker:
                components[-1]["properties"] = [{"name": "python:marker", "value": marker}]
        elif digest := _HASH.match(line):
            components[-1].setdefault("hashes", []).append({"alg": "SHA-256", "content": digest[1]})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", "mirakl-resync", __version__)},
        "components": components,
    }


def _component(kind: str, name: str, version: str) -> dict[str, Any]:
    reference = f"pkg:pypi/{name}@{version}"
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference}


if __name__ == "__main__":
    json.dump(bill_of_materials(locked_packages()), sys.stdout, indent=2)
    sys.stdout.write("\n")
