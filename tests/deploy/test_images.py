"""The image, its bill of materials, and the compose file."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import program
from tests.deploy.sbom import bill_of_materials, locked_packages
from tests.deploy.test_alert_rules import run

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FOREIGN = {"kafka", "postgres"}
"""Their images set themselves up as root, in places of their own."""
OBSERVABILITY = {"prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - FOREIGN))
def test_a_container_of_the_compose_file_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert ("cap_add" in service) == (name == "provision")


def test_nothing_is_reachable_from_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_each_image_is_built_once_before_those_that_run_it() -> None:
    """A service that is started alone brings the one along that builds its image; no registry has it."""
    builders = {service["image"]: name for name, service in SERVICES.items() if "build" in service}
    users = {name for name, service in SERVICES.items() if service["image"] in builders and "build" not in service}

    assert {"mirakl-resync:local": "migrations", "mirakl-resync-sandbox:local": "mirakl"} == builders
    assert len(builders) == sum("build" in service for service in SERVICES.values())
    assert {"service", "gateway", "provision", "topics"} == users
    for name in users:
        assert "never" == SERVICES[name]["pull_policy"]
        assert builders[SERVICES[name]["image"]] in needed(name)


def needed(name: str) -> set[str]:
    """Return the services that are started before this one."""
    direct = set(SERVICES[name].get("depends_on", ()))
    return direct.union(*map(needed, direct))


def test_the_gateway_of_the_compose_file_has_neither_database_nor_keys() -> None:
    gateway = SERVICES["gateway"]

    assert [] == gateway["volumes"]
    assert not {"RESYNC_DATABASE_URL", "RESYNC_ENCRYPTION_KEYS_FILE"} & set(gateway["environment"])


def test_the_profile_for_observability_adds_its_three_programs_and_nothing_starts_them_else() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == OBSERVABILITY
    assert all(SERVICES[name]["profiles"] == ["observability"] for name in OBSERVABILITY)


@pytest.mark.parametrize("name", sorted(OBSERVABILITY))
def test_what_is_mounted_is_there(name: str) -> None:
    mounted = [volume.split(":")[0] for volume in SERVICES[name]["volumes"]]

    assert [path for path in mounted if path.startswith("./") and not (ROOT / path).exists()] == []
    assert [volume for volume in mounted if not volume.startswith("./") and volume not in COMPOSE["volumes"]] == []


def test_prometheus_accepts_its_configuration() -> None:
    assert "rule files found" in run("check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yaml")


def test_alertmanager_accepts_its_configuration() -> None:
    amtool = program("amtool", "prometheus-alertmanager")
    file = ROOT / "deploy" / "alertmanager" / "alertmanager.yaml"
    checked = subprocess.run([amtool, "check-config", file], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr


def test_alertmanager_names_alerts_that_exist() -> None:
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yaml").read_text()
    rules = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()

    assert set(re.findall(r"Resync\w+", text)) <= set(re.findall(r"alert: (Resync\w+)", rules))


def test_the_bill_of_materials_lists_all_that_is_locked_with_its_hashes() -> None:
    components = bill_of_materials(locked_packages())["components"]
    locked = [line.split(" ")[0] for line in locked_packages().splitlines() if line and not line.startswith(" ")]

    assert [f"{each['name']}=={each['version']}" for each in components] == locked
    assert [each["name"] for each in components if not each.get("hashes")] == []
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in components)


def test_the_image_is_of_one_base_that_a_release_can_name_by_digest_and_says_what_it_is_of() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))

    assert {"${PYTHON}", "service"} == bases
    assert {"version", "revision", "licenses", "title", "description"} == set(
        re.findall(r"org\.opencontainers\.image\.(\w+)=", text)
    )
