"""Build the distribution: it installs the three folders under one package, ``mirakl_resync``.

``consumer``, ``schemas`` and ``producer_tools`` are names that an application may use itself, so a wheel must not
install them at the top level. In the wheel they are ``mirakl_resync.consumer`` and so on, and the build rewrites each
import of one of them accordingly. An editable install (``make install``) leaves the sources as they are and offers
both names: the code and the tests use the short ones.

Everything else stands in ``pyproject.toml``.
"""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NAMESPACE = "mirakl_resync"
FOLDERS = ("consumer", "schemas", "producer_tools")
IMPORT = re.compile(rf"^(\s*)from ({'|'.join(FOLDERS)})(?=[. ])", re.MULTILINE)
EDITABLE = "editable_wheel" in sys.argv


class NamespacedBuild(build_py):
    """Copies modules into the wheel with their imports rewritten."""

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        """Copy one module; see ``setuptools.command.build_py``."""
        target, copied = super().build_module(module, module_file, package)
        source = Path(target)
        source.write_text(IMPORT.sub(rf"\1from {NAMESPACE}.\2", source.read_text(encoding="utf-8")), encoding="utf-8")
        return target, copied


packages = find_packages(include=[f"{folder}{rest}" for folder in FOLDERS for rest in ("", ".*")])
setup(
    packages=[f"{NAMESPACE}.{package}" for package in packages] + (packages if EDITABLE else []),
    package_dir={f"{NAMESPACE}.{folder}": folder for folder in FOLDERS},
    cmdclass={"build_py": NamespacedBuild},
)
