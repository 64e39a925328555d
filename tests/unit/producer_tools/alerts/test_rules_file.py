"""A rules file is read whole, or every mistake in it is named with its line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producer_tools.alerts.rules import (
    DAY_SECONDS,
    Annotation,
    DefaultKey,
    Label,
    PairOfLabels,
    ProductList,
    Rule,
)
from producer_tools.alerts.rules_file import load_rules
from producer_tools.products import Product
from tests.unit.producer_tools.alerts.builders import loaded

ROOT = Path(__file__).parents[4]
UUID = "0191A7C2-5d1e-7c3a-9f00-1b2c3d4e5f60"
MINIMAL = "rules:\n  - {name: a, match: {alertname: A}, products: {fixed: ['M:S']}}\n"


def only(folder: Path, text: str) -> Rule:
    read = loaded(folder, text)
    assert [] == [str(mistake) for mistake in read.mistakes]
    assert read.rules is not None
    (rule,) = read.rules.rules
    return rule


def mistakes(folder: Path, text: str | bytes, key: DefaultKey | None = None) -> list[str]:
    read = loaded(folder, text, key)
    assert (read.rules is None) == bool(read.mistakes)
    return [str(mistake) for mistake in read.mistakes]


def test_every_field_of_a_rule_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("mrk_secret\n")
    read = only(
        tmp_path,
        """
rules:
  - name: stuck-products
    match: {alertname: ProductStuck, severity: [warning, critical]}
    products: {annotation: mirakl_products}
    client_specification: {label: client}
    reason: {annotation: summary}
    api_key_file: key
    again_after: 4h
    max_products: 40
    max_requests_per_hour: 6
    own: true
    dry_run: true
""",
    )
    expected = Rule(
        name="stuck-products",
        match={"alertname": frozenset({"ProductStuck"}), "severity": frozenset({"warning", "critical"})},
        products=Annotation("mirakl_products"),
        client_specification=Label("client"),
        reason=Annotation("summary"),
        api_key="mrk_secret",
        again_after=4 * 3600.0,
        max_products=40,
        max_requests_per_hour=6,
        own=True,
        dry_run=True,
    )
    assert expected == read
    assert "mrk_secret" not in repr(read)


def test_what_a_rule_does_not_say_is_careful(tmp_path: Path) -> None:
    read = only(tmp_path, MINIMAL)
    assert (500, 60, None, False, False) == (
        read.max_products,
        read.max_requests_per_hour,
        read.again_after,
        read.own,
        read.dry_run,
    )
    assert (None, None, "key") == (read.client_specification, read.reason, read.api_key)


def test_products_come_from_two_labels_a_list_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("miraklProductId,productSku\nM1,S1\nM2,S2\nM1,S1\n")
    (tmp_path / "products.json").write_text(
        f'{{"clientSpecificationId": "{UUID}", "products": [{{"miraklProductId": "M", "productSku": "S"}}]}}'
    )
    text = """
rules:
  - {name: a, match: {a: a}, products: {labels: [mirakl_product_id, product_sku]}}
  - {name: b, match: {a: a}, products: {fixed: ["M:S", "M2:S:with:colons"]}}
  - {name: c, match: {a: a}, products: {file: products.csv}}
  - {name: d, match: {a: a}, products: {file: products.json}}
"""
    read = loaded(tmp_path, text)
    assert read.rules is not None
    assert [
        PairOfLabels("mirakl_product_id", "product_sku"),
        ProductList((Product("M", "S"), Product("M2", "S:with:colons"))),
        ProductList((Product("M1", "S1"), Product("M2", "S2"))),
        ProductList((Product("M", "S"),), UUID.lower()),
    ] == [rule.products for rule in read.rules.rules]
    assert {"rules.yaml", "products.csv", "products.json"} == {path.name for path in read.files}


def test_a_client_specification_is_written_in_lower_case(tmp_path: Path) -> None:
    assert (
        UUID.lower()
        == only(tmp_path, MINIMAL.replace("name: a,", f"name: a, client_specification: {UUID},")).client_specification
    )


def test_results_matter_for_as_long_as_the_slowest_rule_asks_again(tmp_path: Path) -> None:
    text = "rules:\n" + "".join(
        f"  - {{name: {name}, match: {{a: a}}, products: {{fixed: ['M:S']}}{again}}}\n"
        for name, again in (("a", ", again_after: 4h"), ("b", ", again_after: 2d"))
    )
    read = loaded(tmp_path, text)
    assert read.rules is not None
    assert 2 * DAY_SECONDS == read.rules.read_back_seconds
    never = loaded(tmp_path, MINIMAL)
    assert never.rules is not None
    assert 7 * DAY_SECONDS == never.rules.read_back_seconds


def test_every_mistake_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
rules:
  - name: a
    nmae: b
    match: {alertname: 5, severity: [warning, yes, 2026-01-01], a: []}
    products: {labels: [one], fixed: []}
    again_after: soon
    max_products: 0
    max_requests_per_hour: many
    own: yes
  - name: a
    name: b
    match: {}
    products: {fixed: ["MKL", "A:B", "A:C", " x:y"]}
    client_specification: 12
    reason: {label: x}
    dry_run: "true"
    again_after: 500d
  - just text
  - match: [a]
    products: {file: nothere.csv}
    client_specification: not-a-uuid
extra: 1
rules: []
"""
    told = mistakes(tmp_path, text)
    for line, what in [
        (3, "unknown name 'nmae'. Did you mean 'name'?"),
        (4, "match.alertname must be a text, not a number. Put it in quotes: '5'."),
        (4, "match.severity must be a text, not a boolean. Put it in quotes: 'yes'."),
        (4, "match.severity must be a text, not a date."),
        (4, "match.a is an empty list."),
        (5, "products must have exactly one of annotation, labels, file, fixed."),
        (6, "again_after must be a duration such as 30m, 4h or 1d."),
        (7, "max_products must be a whole number from 1 to"),
        (8, "max_requests_per_hour must be a whole number from 1 to"),
        (9, "own must be true or false."),
        (10, "the name 'a' is used twice, first in line 2."),
        (11, "'name' is given twice, first in line 10."),
        (12, "match is empty and would match every alert."),
        (13, "'MKL' is not a product. Write MIRAKL_ID:SKU."),
        (13, "miraklProductId 'A' has SKU 'C' here, but 'B'"),
        (13, "miraklProductId must not begin or end with white space: ' x'"),
        (14, "client_specification must be a text, not a number."),
        (15, "reason has an unknown name 'label'. Did you mean 'annotation'?"),
        (16, "dry_run must be true or false."),
        (17, "again_after must be a duration from 1s to 365d."),
        (18, "the rule must be a mapping, not a text."),
        (19, "the rule has no 'name'. Add it."),
        (19, "match must be a mapping, not a list."),
        (20, "nothere.csv cannot be read (No such file or directory)."),
        (21, "client_specification 'not-a-uuid' is not a UUID"),
        (22, "the file has an unknown name 'extra'."),
        (23, "'rules' is given twice, first in line 1."),
    ]:
        assert [each for each in told if each.startswith(f"rules.yaml line {line}:") and what in each], (line, what)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n\t- name: a\n\t  match: {a: b}\n", ["line 2: is indented with a tab", "line 3: is indented with a"]),
        ("rules: [\n", ["line 2: is not YAML"]),
        ("rules: &a [*a]\n", ["line 1: is not YAML (aliases are not supported)"]),
        ("a: b\n---\nc: d\n", ["line 2: is not YAML"]),
        ("[" * 100, ["line 1: is not YAML (nested deeper than 16 levels)"]),
        ("", ["rules.yaml: is empty"]),
        ("# nothing\n", ["rules.yaml: is empty"]),
        ("- a\n", ["line 1: the file must be a mapping, not a list"]),
        ("rules: []\n", ["line 1: rules is an empty list"]),
        ("rules:\n", ["line 1: rules must be a list, not empty"]),
        ("other: 1\n", ["line 1: the file has an unknown name", "line 1: the file has no 'rules'"]),
        (b"rules:\n  \xff\n", ["line 2: is not UTF-8"]),
        ("rules:\n  - \x07\n", ["line 2: the character U+0007 is not allowed"]),
        ("rules: !!python/object:os.system {}\n", ["line 1: rules must be a list, not a mapping"]),
        (b" " * (256 << 10) + b" ", ["is larger than 262144 bytes"]),
    ],
)
def test_a_file_that_is_not_yaml_is_refused_with_its_line(text: str | bytes, told: list[str], tmp_path: Path) -> None:
    found = mistakes(tmp_path, text)
    assert len(told) == len(found)
    for expected, message in zip(told, found, strict=True):
        assert expected in message


def test_a_product_file_names_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("miraklProductId,productSku\nM1,S1\nM1,S2\n")
    (told,) = mistakes(tmp_path, MINIMAL.replace("fixed: ['M:S']", "file: products.csv"))
    assert told.startswith("products.csv line 3: miraklProductId 'M1' has SKU 'S2' here")


def test_more_products_than_the_rule_allows_are_a_mistake_of_the_rule(tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path, MINIMAL.replace("['M:S']}", "['M:S', 'M2:S']}, max_products: 1"))
    assert "line 2: products has 2 products, more than max_products (1)" in told


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe\xff"])
def test_a_key_file_holds_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    (told,) = mistakes(tmp_path, MINIMAL.replace("name: a,", "name: a, api_key_file: key,"), DefaultKey(None))
    assert "line 2: api_key_file 'key' does not hold an API key" in told


def test_a_rule_needs_a_key_unless_it_sends_nothing(tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path, MINIMAL, DefaultKey(None))
    assert "line 2: the rule has no API key. Add api_key_file, or set RESYNC_API_KEY." in told
    assert [] == mistakes(tmp_path, MINIMAL.replace("name: a,", "name: a, dry_run: true,"), DefaultKey(None))


def test_a_check_neither_reads_nor_misses_keys(tmp_path: Path) -> None:
    assert [] == mistakes(tmp_path, MINIMAL.replace("name: a,", "name: a, api_key_file: /run/secrets/none,"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    read = load_rules(tmp_path / "none.yaml", None)
    assert read.rules is None
    assert "none.yaml cannot be read (No such file or directory)" in str(read.mistakes[0])


NODE = st.recursive(
    st.sampled_from(["a", "true", "5", "4h", "", "'x'", "null", "M:S", "~", "!!int x", "2026-01-01", "é", "\t"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(
            st.sampled_from(["label", "annotation", "fixed", "labels", "file", "a"]), inner, max_size=3
        ).map(lambda members: "{" + ", ".join(f"{name}: {value}" for name, value in members.items()) + "}")
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "name",
        "match",
        "products",
        "client_specification",
        "reason",
        "again_after",
        "max_products",
        "own",
        "dry_run",
        "x",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, NODE), max_size=8))
def test_whatever_stands_in_a_rule_it_is_read_or_every_mistake_has_a_line(
    tmp_path: Path, members: list[tuple[str, str]]
) -> None:
    text = "rules:\n  -\n" + "".join(f"    {name}: {value}\n" for name, value in members)
    for told in mistakes(tmp_path, text):
        assert told.startswith("rules.yaml line ")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.text("[]{}:-,'\"\n\t a&*!|>%@`#?").map(str.encode)
)
@example(b"? [a, b]\n: c\n")
@example(b"<<: {a: b}\n")
def test_whatever_the_file_holds_it_ends_in_mistakes(tmp_path: Path, data: bytes) -> None:
    assert mistakes(tmp_path, data)
