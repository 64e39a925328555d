"""A credential is sent where the operator meant it, over TLS, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.base_url import MAXIMUM_LENGTH, HostRules, base_url_problem, normalised, synchronization_url

WRITTEN = ["", "/", "/api", "/api/", "//", "/api//"]


@pytest.mark.parametrize("written", WRITTEN)
def test_every_way_to_paste_a_base_url_means_the_same_mirakl(written: str) -> None:
    url = f"https://shop.mirakl.example{written}"
    assert base_url_problem(url) is None
    assert synchronization_url(url) == "https://shop.mirakl.example/api/mcm/products/synchronization"


@pytest.mark.parametrize("written", WRITTEN)
def test_a_path_in_front_is_kept(written: str) -> None:
    url = f"https://gateway.example:8443/mirakl{written}"
    assert synchronization_url(url) == "https://gateway.example:8443/mirakl/api/mcm/products/synchronization"


@pytest.mark.parametrize("path", ["/myapi", "/api2", "/API"])
def test_what_only_resembles_api_is_kept(path: str) -> None:
    assert normalised(f"https://shop.example{path}") == f"https://shop.example{path}"


def test_scheme_and_host_are_compared_without_case() -> None:
    assert base_url_problem("HTTPS://Shop.Example") is None
    assert normalised("HTTPS://Shop.Example/Path") == "https://shop.example/Path"


@given(
    st.sampled_from(["https://a.example", "https://a.example:8443/x", "http://127.0.0.1:9"]), st.sampled_from(WRITTEN)
)
def test_normalising_twice_changes_nothing_more(url: str, written: str) -> None:
    assert normalised(normalised(url + written)) == normalised(url + written)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080", "http://127.8.9.10", "http://[::1]:8080", "http://localhost", "http://LOCALHOST:1/x"],
)
def test_plain_http_is_for_this_machine(url: str) -> None:
    assert base_url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://mirakl.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.1",
        "http://2130706433",
        "http://[::2]",
        "http://[fe80::1]",
    ],
)
def test_plain_http_goes_nowhere_else(url: str) -> None:
    problem = base_url_problem(url, HostRules(insecure={"simulator"}))
    assert problem is not None
    assert "RESYNC_INSECURE_HOSTS" in problem.remedy


@pytest.mark.parametrize("allowed", ["simulator", "SIMULATOR", " simulator "])
def test_plain_http_goes_to_the_hosts_that_are_named(allowed: str) -> None:
    assert base_url_problem("http://simulator:8080/api", HostRules(insecure=[allowed])) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mirakl.example",
        "//mirakl.example",
        "ftp://mirakl.example",
        "file:///etc/passwd",
        "https://",
        "https:///api",
        "https://:443",
        "https://mirakl.example:",
        "https://mirakl.example:0",
        "https://mirakl.example:99999",
        "https://mirakl.example:http",
        "https://mirakl..example",
        "https://-mirakl.example",
        f"https://{'a' * 64}.example",
        f"https://{'a.' * 130}example",
        "https://me@mirakl.example",
        "https://me:hunter2@mirakl.example",
        "https://@mirakl.example",
        "https://mirakl.example?",
        "https://mirakl.example/?key=hunter2",
        "https://mirakl.example#",
        "https://mirakl.example/ api",
        "https://mirakl.example\n",
        " https://mirakl.example",
        "https://mirakl.example\\@evil.example",
        "https://mirakl\u3002example",
        "https://[::1",
        "https://[::1]evil.example",
        "http://[::1]evil.example:80",
        "http://[::1%25eth0]",
        f"https://mirakl.example/{'a' * MAXIMUM_LENGTH}",
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    problem = base_url_problem(url, HostRules(insecure={"mirakl.example"}))
    assert problem is not None
    assert problem.problem
    assert problem.remedy
    assert "hunter2" not in str(problem)


@given(st.text())
def test_no_text_is_too_strange_to_judge(text: str) -> None:
    assert base_url_problem(text) is not None
    assert base_url_problem(f"https://{text.replace('/', '')}@mirakl.example") is not None  # a path may hold an @


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_what_is_taken_stays_taken_once_normalised(text: str) -> None:
    url = f"https://mirakl.example/{text}"
    if base_url_problem(url) is None:
        assert base_url_problem(normalised(url)) is None
        assert normalised(url).startswith("https://mirakl.example")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("acme.mirakl.net", True),
        ("ACME.mirakl.net.", True),
        ("eu.acme.mirakl.net", True),
        ("mirakl.net", False),
        ("evilmirakl.net", False),
        ("acme.mirakl.net.evil.example", False),
        ("own.example", True),
        ("www.own.example", False),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("127.0.0.2", False),
    ],
)
def test_a_host_must_be_allowed_by_name_or_lie_below_an_allowed_one(host: str, *, allowed: bool) -> None:
    rules = HostRules(allowed={"*.mirakl.net", "own.example", "127.0.0.1", "::1"})
    problem = base_url_problem(f"https://{host}/api", rules)
    assert allowed == (problem is None)
    assert problem is None or ("RESYNC_MIRAKL__ALLOWED_HOSTS" in problem.remedy and host not in str(problem))


def test_an_allowed_host_still_needs_https() -> None:
    problem = base_url_problem("http://own.example", HostRules(allowed={"own.example"}))
    assert problem is not None
    assert "RESYNC_INSECURE_HOSTS" in problem.remedy
