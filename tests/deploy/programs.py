"""Programs of others that judge what is deployed: skipped by name where they are missing, but required on CI."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Return the path of a program that this package of Debian has."""
    found = shutil.which(name)
    if found is None:
        message = f"{name}: not found. Install it (Debian, Ubuntu: apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found
