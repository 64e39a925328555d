"""Helm, as the library of its own code that Maven's repository has, and the schemas of the Kubernetes API.

Helm's command would have to be compiled, which takes five minutes of CPU.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.java import downloaded, find_java, maven
from tests.support.parts import PartMissing

HELM_JAVA: Final = "0.0.16"
KUBERNETES_VALIDATE: Final = "1.37.0"
"""Holds the schemas of many releases of Kubernetes."""
RUN_SECONDS: Final = 240
_HOOK: Final = "helm.sh/hook"
_HIDDEN: Final = "hidden.helm.sh/hook"
POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId>
  <artifactId>helm</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.marcnuri.helm-java</groupId>
      <artifactId>helm-java</artifactId>
      <version>{HELM_JAVA}</version>
    </dependency>
    <dependency>
      <groupId>com.marcnuri.helm-java</groupId>
      <artifactId>linux-amd64</artifactId>
      <version>{HELM_JAVA}</version>
    </dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True, slots=True)
class HelmRun:
    """What Helm said of a chart."""

    lint: str
    """Messages of ``helm lint --strict``; empty: it passed."""
    rendered: dict[str, str]
    """Name of a file of values -> manifests, as of ``helm template``."""
    refused: dict[str, str]
    """Name of a file of values -> why Helm refused them."""


def run_helm(chart: Path, values: Iterable[Path], folder: Path) -> HelmRun:
    """Lint the chart and render it with each file of values; ``folder`` is for what Helm writes.

    Raises :class:`PartMissing` where Java or Maven is missing.
    """
    try:
        java = find_java(17)
        jars = downloaded(f"helm-java-{HELM_JAVA}", _download_jars)
    except PartMissing as missing:
        raise PartMissing(f"Helm: {missing}. Install Java 17 and Maven") from missing
    source = Path(__file__).with_name("HelmRuns.java")
    copied = _with_hooks_as_resources(chart, folder / chart.name)
    _checked([java, "-cp", f"{jars}/*", str(source), str(copied), str(folder), *map(str, values)])
    return HelmRun(
        (folder / "lint").read_text(),
        {path.stem: path.read_text().replace(_HIDDEN, _HOOK) for path in folder.glob("*.yaml")},
        {path.stem: path.read_text() for path in folder.glob("*.error")},
    )


def _with_hooks_as_resources(chart: Path, copied: Path) -> Path:
    """Copy the chart so that hooks are rendered too: the library leaves them out, unlike the command."""
    shutil.copytree(chart, copied)
    for template in copied.glob("templates/**/*.yaml"):
        template.write_text(template.read_text().replace(_HOOK, _HIDDEN))
    return copied


def validate(manifests: Iterable[Path], release: str) -> str:
    """Check manifests against the schemas of this Kubernetes release, strictly; return a line for each resource."""
    packages = downloaded(f"kubernetes-validate-{KUBERNETES_VALIDATE}", _download_schemas)
    program = packages / "bin" / "kubernetes-validate"
    command = [sys.executable, str(program), "--strict", "--kubernetes-version", release, *map(str, manifests)]
    return _checked(command, PYTHONPATH=str(packages))


def _checked(command: list[str], **environment: str) -> str:
    ran = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def _download_jars(folder: Path) -> None:
    (folder / "pom.xml").write_text(POM)
    maven("dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime", folder=folder)


def _download_schemas(folder: Path) -> None:
    package = f"kubernetes-validate=={KUBERNETES_VALIDATE}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder), package]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    if ran.returncode != 0:
        raise PartMissing(f"Schemas of Kubernetes: {package} cannot be installed: {ran.stderr.strip()[:500]}")
