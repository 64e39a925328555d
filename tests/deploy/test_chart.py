"""The Helm chart: rendered by Helm, compared with what is kept, and held against the schemas of Kubernetes.

What is kept in ``chart/rendered`` is for reviewers, who see there what a change of the chart does. To write it anew,
and the names of settings in ``values.schema.json`` (after a setting was added):
``KEEP_RENDERED=1 make test ARGS=tests/deploy/test_chart.py``.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
import yaml

from consumer import __version__
from schemas.settings import SETTINGS
from tests.support.fixtures import cannot_run
from tests.support.helm import HelmRun, run_helm, validate
from tests.support.parts import PartMissing

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "mirakl-resync"
HERE = Path(__file__).parent / "chart"
KEPT = ["adapted", "everything", "secured", "smallest"]
KUBERNETES = ["1.29", "1.37"]
"""The oldest and the newest release that the chart is checked for."""
FOREIGN_KINDS: Final = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Of other projects: Kubernetes has no schemas of these."""
MADE_BY_THE_CHART: Final = {
    "RESYNC_ADMIN__HOST",
    "RESYNC_ADMIN__PORT",
    "RESYNC_DATABASE_URL",
    "RESYNC_ENCRYPTION_KEYS",
    "RESYNC_GATEWAY__ALERT_RULES_FILE",
    "RESYNC_GATEWAY__HOST",
    "RESYNC_GATEWAY__PORT",
    "RESYNC_GATEWAY__TLS_CERT_FILE",
    "RESYNC_GATEWAY__TLS_KEY_FILE",
    "RESYNC_KAFKA__GROUP_INSTANCE_ID",
    "RESYNC_SHUTDOWN_TIMEOUT",
}
WRONG: Final = {
    "mistyped-value": ("service: { replcas: 3 }", "replcas"),
    "mistyped-setting": ("settings: { RESYNC_KAFKA__BOOTSTRAP_SERVER: x }", r"RESYNC_KAFKA__BOOTSTRAP_SERVER['\"]"),
    "plain-secret": ("settings: { RESYNC_API_KEY: secret }", "RESYNC_API_KEY"),
    "number-for-text": ("settings: { RESYNC_MAX_REQUEST_BYTES: 1048576 }", "RESYNC_MAX_REQUEST_BYTES"),
    "no-brokers": ("service: { replicas: 1 }", "settings.RESYNC_KAFKA__BOOTSTRAP_SERVERS is not set"),
    "too-many-replicas": (
        "keda: { enabled: true, partitions: 2, maxReplicas: 3 }\nsettings: { RESYNC_KAFKA__BOOTSTRAP_SERVERS: k:9092 }",
        "keda.maxReplicas is 3, but the requests topic has 2 partitions",
    ),
}

Manifest = dict[str, Any]


@cache
def helm() -> HelmRun:
    """Run Helm once for all tests, as starting it is what takes time."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for wrong, (values, _) in WRONG.items():
            (folder / f"{wrong}.values.yaml").write_text(values)
        out = folder / "out"
        out.mkdir()
        return run_helm(CHART, sorted([*(HERE / "values").glob("*.yaml"), *folder.glob("*.values.yaml")]), out)


@pytest.fixture(scope="module")
def run() -> HelmRun:
    """What Helm says; skipped where it cannot be had, but on CI it must be there."""
    try:
        return helm()
    except PartMissing as missing:
        cannot_run(missing)


def manifests(run: HelmRun, name: str) -> list[Manifest]:
    """Return what is rendered with these values."""
    return [each for each in yaml.safe_load_all(run.rendered[name]) if each]


def of_kind(run: HelmRun, name: str, kind: str) -> Iterator[Manifest]:
    """Yield the manifests of one kind."""
    return (each for each in manifests(run, name) if each["kind"] == kind)


def pods(run: HelmRun, name: str) -> Iterator[tuple[str, Manifest]]:
    """Yield the spec of each pod, with the component that it is of."""
    for each in manifests(run, name):
        if each["kind"] in {"StatefulSet", "Deployment", "Job", "Pod"}:
            spec = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
            yield each["metadata"]["labels"]["app.kubernetes.io/component"], spec


def test_helm_finds_nothing_to_complain_about(run: HelmRun) -> None:
    assert run.lint == ""
    assert set(run.refused) == {f"{name}.values" for name in WRONG}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_rendered_is_what_is_kept(run: HelmRun, name: str) -> None:
    kept = HERE / "rendered" / f"{name}.yaml"
    if os.environ.get("KEEP_RENDERED"):
        kept.write_text(run.rendered[name])

    assert manifests(run, name) == [each for each in yaml.safe_load_all(kept.read_text()) if each]


@pytest.mark.parametrize("release", KUBERNETES)
def test_kubernetes_accepts_what_is_rendered(run: HelmRun, release: str, tmp_path: Path) -> None:
    for name in KEPT:
        (tmp_path / f"{name}.yaml").write_text(run.rendered[name])
    lines = validate(sorted(tmp_path.glob("*.yaml")), release).splitlines()
    unknown = {found[1] for line in lines if (found := re.search(r"Couldn't find schema for kind (\w+)", line))}
    passed = [line for line in lines if " passed for resource " in line]
    own = [each for name in KEPT for each in manifests(run, name) if each["kind"] not in FOREIGN_KINDS]

    assert unknown <= FOREIGN_KINDS
    assert len(own) == len(passed)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_name(run: HelmRun, name: str) -> None:
    assert re.search(WRONG[name][1], run.refused[f"{name}.values"])


def test_the_names_of_settings_are_those_of_the_programs() -> None:
    """Secrets are accepted from secrets only; no name of a file is, as ``files`` mounts files."""
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    free = [each for each in SETTINGS if each.name not in MADE_BY_THE_CHART]
    plain = [each.name for each in free if not each.secret]
    from_secrets = [each.name for each in free if not each.name.endswith("_FILE")]
    names = {kind: schema["$defs"][kind]["propertyNames"] for kind in ("settings", "secretSettings")}
    if os.environ.get("KEEP_RENDERED"):
        names["settings"]["enum"], names["secretSettings"]["enum"] = plain, from_secrets
        path.write_text(json.dumps(schema, indent=2) + "\n")

    assert plain == names["settings"]["enum"]
    assert from_secrets == names["secretSettings"]["enum"]


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert __version__ == chart["version"] == chart["appVersion"]


@pytest.mark.parametrize("name", KEPT)
def test_no_pod_has_more_rights_than_it_needs(run: HelmRun, name: str) -> None:
    for _, pod in pods(run, name):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"]
            assert "cpu" not in container["resources"]["limits"]
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", KEPT)
def test_secrets_are_files_and_nobody_gets_one_that_it_does_not_need(run: HelmRun, name: str) -> None:
    """The gateway has neither the database nor the encryption keys; the migrations have the database alone."""
    for component, pod in pods(run, name):
        variables = {each["name"]: each for container in pod["containers"] for each in container["env"]}
        secret = {setting.name for setting in SETTINGS if setting.secret}

        assert not secret & set(variables)
        assert not any("secretKeyRef" in each.get("valueFrom", {}) for each in variables.values())
        if component == "gateway":
            assert not {"RESYNC_DATABASE_URL_FILE", "RESYNC_ENCRYPTION_KEYS_FILE"} & set(variables)
        if component == "migrations":
            assert {"RESYNC_DATABASE_URL_FILE"} == set(variables)


def test_the_migrations_need_nothing_that_the_chart_makes(run: HelmRun) -> None:
    """A hook runs before the first install, when no object of the chart is there yet."""
    (job,) = of_kind(run, "everything", "Job")
    spec = job["spec"]["template"]["spec"]
    made = {each["metadata"]["name"] for each in manifests(run, "everything") if each is not job}

    assert "pre-install,pre-upgrade" == job["metadata"]["annotations"]["helm.sh/hook"]
    assert "serviceAccountName" not in spec
    assert not made & set(re.findall(r"[\w-]+", json.dumps(spec["volumes"])))


def test_a_pod_is_killed_only_after_its_own_time_to_stop(run: HelmRun) -> None:
    (replica,) = (pod for component, pod in pods(run, "adapted") if component == "service")
    variables = {each["name"]: each.get("value") for each in replica["containers"][0]["env"]}

    assert "50s" == variables["RESYNC_SHUTDOWN_TIMEOUT"]
    assert replica["terminationGracePeriodSeconds"] == 60


def test_alerts_and_dashboard_are_those_of_this_repository(run: HelmRun) -> None:
    """The runbook's address is put before the path of each section."""
    (rule,) = of_kind(run, "watched", "PrometheusRule")
    (dashboard,) = of_kind(run, "watched", "ConfigMap")
    rules = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()
    at_the_wiki = rules.replace("runbook_url: docs/", "runbook_url: https://wiki.example.com/mirakl-resync/docs/")

    assert yaml.safe_load(at_the_wiki)["groups"] == rule["spec"]["groups"]
    assert json.loads(dashboard["data"]["mirakl-resync.json"]) == json.loads(
        (ROOT / "deploy" / "grafana" / "mirakl-resync.json").read_text()
    )
