"""Settings as an operator gives them: variables, files, mistakes."""

from pathlib import Path

import certifi
import pytest
from cryptography.fernet import Fernet

from schemas.contract import Credential
from schemas.settings import EDGES, SETTINGS, Delivery, Settings, SettingsError, Source, describe, load

KEY = Fernet.generate_key().decode()


def mistakes(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.mistakes


def test_nothing_has_to_be_set_for_a_command_that_needs_nothing() -> None:
    settings = load({"PATH": "/bin", "RESYNCHRONIZE": "yes"})
    assert Settings() == settings
    assert (
        settings.topics.requests,
        settings.topics.results,
    ) == ("mirakl.product-resync.requests.v1", "mirakl.product-resync.results.v1")
    assert "mirakl.product-resync.requests.v1.dlq" == settings.topics.dead_letters
    assert "sqlite:///mirakl-resync.db" == settings.database_url.get_secret_value()
    assert (300, 60, 25) == (settings.request_deadline, settings.call_timeout, settings.shutdown_timeout)
    assert (10_000, 1_048_576) == (settings.max_products_per_request, settings.max_request_bytes)


def test_names_follow_the_models() -> None:
    names = {setting.name for setting in SETTINGS}
    assert {
        *("RESYNC_TOPICS__REQUESTS", "RESYNC_TOPICS__RESULTS", "RESYNC_TOPICS__DEAD_LETTERS"),
        *("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "RESYNC_KAFKA__GROUP_ID", "RESYNC_KAFKA__GROUP_PROTOCOL"),
        *("RESYNC_KAFKA__GROUP_INSTANCE_ID", "RESYNC_KAFKA__DELIVERY", "RESYNC_KAFKA__PROPERTIES"),
        *("RESYNC_SCHEMA_REGISTRY__URL", "RESYNC_SCHEMA_REGISTRY__USERNAME", "RESYNC_SCHEMA_REGISTRY__PASSWORD"),
        *(
            f"RESYNC_GATEWAY__{name}"
            for name in ("HOST", "PORT", "TLS_CERT_FILE", "TLS_KEY_FILE", "WAIT", "LONGEST_WAIT")
        ),
        *(f"RESYNC_GATEWAY__{name}" for name in ("CALLS", "CALLS_PER_KEY", "MAX_BODY_BYTES")),
        *("RESYNC_GATEWAY__ALERT_RULES_FILE", "RESYNC_GATEWAY__ALERT_TOKENS"),
        *("RESYNC_SCHEMA_REGISTRY__CA_FILE", "RESYNC_DATABASE_URL", "RESYNC_ENCRYPTION_KEYS", "RESYNC_API_KEY"),
        *("RESYNC_REQUEST_DEADLINE", "RESYNC_CALL_TIMEOUT", "RESYNC_SHUTDOWN_TIMEOUT", "RESYNC_INSECURE_HOSTS"),
        *("RESYNC_MIRAKL__PROXY_URL", "RESYNC_MIRAKL__CA_FILE", "RESYNC_MIRAKL__ALLOWED_HOSTS"),
        *("RESYNC_MAX_PRODUCTS_PER_REQUEST", "RESYNC_MAX_REQUEST_BYTES", "RESYNC_ADMIN__HOST", "RESYNC_ADMIN__PORT"),
        *(
            "RESYNC_LOG__LEVEL",
            "RESYNC_LOG__FORMAT",
            "RESYNC_LOG__REQUESTS",
            "RESYNC_EVENT_TRACE_FILE",
            "RESYNC_PROCESSES",
        ),
        *("RESYNC_REQUEST_AUTH", "RESYNC_ACCEPT_CREDENTIALS", "RESYNC_SIGNATURE_MAX_AGE"),
    } == names


def test_every_setting_is_documented_with_its_default() -> None:
    assert all(setting.description.endswith(".") for setting in SETTINGS)
    assert [row.value for row in describe(load({}), {})] == [setting.default for setting in SETTINGS]


def test_a_value_comes_from_its_variable() -> None:
    settings = load(
        {
            "RESYNC_KAFKA__BOOTSTRAP_SERVERS": " a:9092, [::1]:9092 ,b",
            "RESYNC_KAFKA__DELIVERY": "At-Least-Once",
            "RESYNC_REQUEST_DEADLINE": "2m",
            "RESYNC_INSECURE_HOSTS": "Mirakl, simulator",
            "RESYNC_ENCRYPTION_KEYS": f"{KEY}, {KEY}",
        }
    )
    assert "a:9092,[::1]:9092,b" == settings.kafka.bootstrap_servers
    assert Delivery.AT_LEAST_ONCE is settings.kafka.delivery
    assert 120 == settings.request_deadline
    assert {"mirakl", "simulator"} == settings.insecure_hosts
    assert [KEY, KEY] == [key.get_secret_value() for key in settings.encryption_keys]


@pytest.mark.parametrize("given", ["http://mirakl", "mirakl:8080", "mirakl simulator", "mirakl/api", "[::1]"])
def test_insecure_hosts_are_host_names_alone(given: str) -> None:
    with pytest.raises(SettingsError, match="host names only"):
        load({"RESYNC_INSECURE_HOSTS": f"other,{given}"})


def test_allowed_hosts_are_names_or_everything_below_one() -> None:
    given = "Acme.Mirakl.NET, *.mirakl.net,::1,127.0.0.1, final.example."
    allowed = load({"RESYNC_MIRAKL__ALLOWED_HOSTS": given}).mirakl.allowed_hosts
    assert frozenset({"acme.mirakl.net", "*.mirakl.net", "::1", "127.0.0.1", "final.example"}) == allowed
    assert load({}).mirakl.allowed_hosts is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (",", "names no host"),
        *((host, "is not a host") for host in ("*", "*.", "a*.net", "https://a.net", "a.net:443", "a.net/", "a..b")),
    ],
)
def test_what_is_no_allowed_host_is_refused(given: str, why: str) -> None:
    """An allow-list with a mistake must not turn into one that allows anything."""
    (mistake,) = mistakes(RESYNC_MIRAKL__ALLOWED_HOSTS=given)
    assert mistake.startswith("RESYNC_MIRAKL__ALLOWED_HOSTS: ")
    assert why in mistake


@pytest.mark.parametrize("url", ["http://tok3n@proxy:3128", "https://user:tok3n@proxy", "http://a:b@tok3n@proxy:1/"])
def test_credentials_of_a_proxy_are_never_shown(url: str) -> None:
    environ = {"RESYNC_MIRAKL__PROXY_URL": url}
    settings = load(environ)
    shown = {row.name: row.value for row in describe(settings, environ)}["RESYNC_MIRAKL__PROXY_URL"]
    assert "://***@proxy" in shown
    assert "tok3n" not in shown + repr(settings)


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings() == load({setting.name: "" for setting in SETTINGS})


def test_a_setting_whose_own_name_ends_in_file_may_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())
    (tmp_path / "name").write_text(f"{tmp_path / 'ca.pem'}\n")
    settings = load({"RESYNC_SCHEMA_REGISTRY__CA_FILE_FILE": str(tmp_path / "name")})
    assert tmp_path / "ca.pem" == settings.schema_registry.ca_file


def test_a_variable_and_its_file_together_are_a_mistake(tmp_path: Path) -> None:
    assert mistakes(RESYNC_API_KEY="key", RESYNC_API_KEY_FILE=str(tmp_path / "key")) == (
        "RESYNC_API_KEY and RESYNC_API_KEY_FILE are both set: keep one of them.",
    )


@pytest.mark.parametrize("content", [None, b"\xff\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content:
        file.write_bytes(content)
    (mistake,) = mistakes(RESYNC_API_KEY_FILE=str(file))
    assert mistake.startswith("RESYNC_API_KEY_FILE: ")
    assert str(file) in mistake


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RESYNC_KAFKA_BOOTSTRAP_SERVERS", "RESYNC_KAFKA__BOOTSTRAP_SERVERS"),
        ("RESYNC_GROUP_ID", "RESYNC_KAFKA__GROUP_ID"),
        ("RESYNC_DATABASE_URI", "RESYNC_DATABASE_URL"),
        ("RESYNC_DATABASE_URI_FILE", "RESYNC_DATABASE_URL_FILE"),
        ("RESYNC_ADMIN_PORT", "RESYNC_ADMIN__PORT"),
    ],
)
def test_a_setting_that_does_not_exist_names_the_nearest(name: str, nearest: str) -> None:
    assert (f"Unknown setting {name}. Did you mean {nearest}?",) == mistakes(**{name: "9000"})


@pytest.mark.parametrize("service", ["RESYNC", "RESYNC_KAFKA", "RESYNC_ADMIN"])
def test_what_kubernetes_injects_for_services_is_ignored(service: str) -> None:
    load(
        {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "9092",
            f"{service}_SERVICE_PORT_HTTP": "9092",
            f"{service}_PORT": "tcp://10.0.0.1:9092",
            f"{service}_PORT_9092_TCP": "tcp://10.0.0.1:9092",
            f"{service}_PORT_9092_TCP_PROTO": "tcp",
            f"{service}_PORT_9092_TCP_PORT": "9092",
            f"{service}_PORT_9092_TCP_ADDR": "10.0.0.1",
        }
    )


def test_all_mistakes_are_reported_at_once() -> None:
    found = mistakes(
        RESYNC_REQUEST_DEADLINE="0.5s",
        RESYNC_CALL_TIMEOUT="soon",
        RESYNC_KAFKA__DELIVERY="sometimes",
        RESYNC_ADMIN__PORT="http",
        RESYNC_MAX_REQUEST_BYTES="1",
        RESYNC_TOPICS__REQUESTS="a topic",
        RESYNC_TOPICS__RESULTS="same",
        RESYNC_TOPICS__DEAD_LETTERS="same",
        RESYNC_SCHEMA_REGISTRY__URL="https://user:hunter2@registry",
        RESYNC_SCHEMA_REGISTRY__USERNAME="user",
        RESYNC_DATABASE_URL="postgres://user:hunter2@host/name",
        RESYNC_ENCRYPTION_KEYS="hunter2",
        RESYNC_KAFKA__BOOTSTRAP_SERVERS="http://broker/",
        RESYNC_KAFKA__GROUP_ID="two words",
        RESYNC_NONSENSE="",
    )
    assert 14 == len(found)
    assert found[0].startswith("Unknown setting RESYNC_NONSENSE. Did you mean ")
    assert all(mistake.startswith("RESYNC_") and mistake.endswith(".") for mistake in found[1:])
    assert "RESYNC_REQUEST_DEADLINE: must be at least 1s, not 500ms." in found
    assert "RESYNC_KAFKA__DELIVERY: must be 'exactly-once' or 'at-least-once', not 'sometimes'." in found
    assert "RESYNC_ADMIN__PORT: must be a whole number, not 'http'." in found
    assert "hunter2" not in str(found)


def test_what_a_command_does_not_use_is_neither_read_nor_checked() -> None:
    environ = {"RESYNC_REQUEST_DEADLINE": "soon", "RESYNC_API_KEY_FILE": "/does/not/exist"}
    assert Settings() == load(environ, uses=["database_url"])


def test_what_a_command_needs_and_is_not_set_is_a_mistake() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"RESYNC_ENCRYPTION_KEYS": ""}, needs=["RESYNC_KAFKA__BOOTSTRAP_SERVERS", "RESYNC_ENCRYPTION_KEYS"])
    first, second = caught.value.mistakes
    assert first.startswith("RESYNC_KAFKA__BOOTSTRAP_SERVERS is not set. The Kafka brokers")
    assert second.startswith("RESYNC_ENCRYPTION_KEYS is not set. Fernet keys")


def test_a_setting_that_does_not_exist_is_a_mistake_for_every_command() -> None:
    with pytest.raises(SettingsError):
        load({"RESYNC_NONSENSE": "1"}, uses=[])


SECRETS = {
    "RESYNC_API_KEY": "hunter2",
    "RESYNC_DATABASE_URL": "postgresql+psycopg://user:hun%40ter2@host/name?sslmode=require&sslpassword=hunter2",
    "RESYNC_ENCRYPTION_KEYS": KEY,
    "RESYNC_KAFKA__PROPERTIES": '{"sasl.username": "user", "sasl.password": "hunter2"}',
    "RESYNC_SCHEMA_REGISTRY__USERNAME": "user",
    "RESYNC_SCHEMA_REGISTRY__PASSWORD": "hunter2",
}


def test_no_secret_is_shown() -> None:
    settings = load(SECRETS)
    for shown in (repr(settings), str(settings), str(describe(settings, SECRETS))):
        assert "ter2" not in shown
        assert KEY not in shown


def test_settings_are_listed_as_one_would_write_them_with_their_source(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    environ = {
        "RESYNC_DATABASE_URL": SECRETS["RESYNC_DATABASE_URL"],
        "RESYNC_API_KEY_FILE": str(tmp_path / "key"),
    }
    rows = {row.name: (row.value, row.source) for row in describe(load(environ), environ)}
    assert ("5m", Source.DEFAULT) == rows["RESYNC_REQUEST_DEADLINE"]
    assert ("***", Source.FILE) == rows["RESYNC_API_KEY"]
    assert rows["RESYNC_DATABASE_URL"] == (
        "postgresql+psycopg://user:***@host/name?sslmode=require&sslpassword=***",
        Source.ENVIRONMENT,
    )


def test_the_edges_that_a_command_can_name_are_the_fields_of_the_settings() -> None:
    """What is missing there is read by no command, and stays at its default without a word."""
    assert set(Settings.model_fields) == set(EDGES)


def test_accepted_credentials_are_a_list_of_forms() -> None:
    assert frozenset(Credential) == load({}).accept_credentials
    assert frozenset({Credential.SIGNATURE}) == load({"RESYNC_ACCEPT_CREDENTIALS": " Signature, "}).accept_credentials
    assert Credential.SIGNATURE is load({"RESYNC_REQUEST_AUTH": "SIGNATURE"}).request_auth


@pytest.mark.parametrize(("given", "complaint"), [("keys", "must be 'key' or 'signature'"), (",", "at least 1 item")])
def test_other_credentials_are_refused_by_the_name_of_the_setting(given: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"RESYNC_ACCEPT_CREDENTIALS": given})

    (mistake,) = refused.value.mistakes
    assert mistake.startswith("RESYNC_ACCEPT_CREDENTIALS: ")
    assert complaint in mistake
