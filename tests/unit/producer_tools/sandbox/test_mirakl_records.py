"""What the simulated Mirakl tells of the submissions that it took in: CM22, CM23, journal and counters."""

import io
import json
import time

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault, MiraklSimulator, Processing, Rules
from producer_tools.sandbox.mirakl.rules import EntryError
from tests.unit.producer_tools.sandbox.mirakl_calls import CM21, entries, get, post, simulator, taken_in

# CM22 and CM23


def test_a_submission_is_processed_and_reported_entry_by_entry() -> None:
    mirakl = simulator(
        Rules(processing=Processing(failed_products={"B": EntryError(code="E7", message="unknown product")}))
    )
    tracking_id = taken_in(mirakl, {"A": "a", "B": "b"})
    code, state = get(mirakl, f"{CM21}/{tracking_id}")
    assert (200, "COMPLETE", 2, 1, 1, True) == (
        code,
        *(state[name] for name in ("status", "processed", "succeeded", "failed", "has_report")),
    )
    code, report = get(mirakl, f"{CM21}/{tracking_id}/report")
    assert code == 200
    items = report["processed_items"]
    assert isinstance(items, list)
    assert {("A", "SUCCESS", 0), ("B", "FAILURE", 1)} == {
        (item["mirakl_product_id"], item["status"], len(item["synchronization_errors"])) for item in items
    }


def test_a_submission_that_is_not_final_has_no_report() -> None:
    mirakl = simulator(Rules(processing=Processing(seconds=60)))
    tracking_id = taken_in(mirakl, {"A": "a"})
    assert get(mirakl, f"{CM21}/{tracking_id}")[1]["status"] == "WAITING"
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 404


@pytest.mark.parametrize("final_status", ["FAILED", "CANCELLED", "RUNNING", "NEVER_HEARD_OF"])
def test_any_status_can_be_played(final_status: str) -> None:
    mirakl = simulator(Rules(processing=Processing(final_status=final_status, has_report=False, bare=True)))
    tracking_id = taken_in(mirakl, {"A": "a"})
    assert (200, {"tracking_id": tracking_id, "status": final_status}) == get(mirakl, f"{CM21}/{tracking_id}")
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 404


def test_nobody_sees_the_submissions_of_others() -> None:
    mirakl = simulator()
    tracking_id = taken_in(mirakl, {"A": "a"}, f"/c/acme{CM21}")
    assert get(mirakl, f"/c/acme{CM21}/{tracking_id}")[0] == 200
    assert get(mirakl, f"{CM21}/{tracking_id}")[0] == 404
    assert get(mirakl, f"/c/acme{CM21}/{tracking_id}", {})[0] == 401


def test_a_fault_may_concern_the_state_alone() -> None:
    mirakl = simulator()
    tracking_id = taken_in(mirakl, {"A": "a"})
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, operation="CM22"))
    assert get(mirakl, f"{CM21}/{tracking_id}")[0] == 503
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 200


# The witness


def test_the_journal_names_what_was_not_taken_in_under_the_given_tracking_ids() -> None:
    mirakl = simulator()
    first, second = taken_in(mirakl, {"A": "a", "B": "b"}), taken_in(mirakl, {"C": "c"})
    missing = mirakl.journal.missing
    assert missing([first, second], {"A": "a", "C": "c"}) == {}
    assert missing([first], {"A": "a", "C": "c"}) == {"C": "c"}
    assert missing([first], {"A": "other"}) == {"A": "other"}
    assert missing(["unknown"], {"A": "a"}) == {"A": "a"}


def test_the_journal_is_searched_by_product_instance_and_time() -> None:
    mirakl = simulator()
    before = time.time()
    first = taken_in(mirakl, {"A": "a", "B": "b"})
    second = taken_in(mirakl, {"A": "a"}, f"/c/acme{CM21}")
    assert [first, second] == [each.tracking_id for each in mirakl.journal.search(mirakl_product_id="A", after=before)]
    assert [second] == [each.tracking_id for each in mirakl.journal.search(instance="acme", mirakl_product_id="A")]
    assert [] == list(mirakl.journal.search(mirakl_product_id="C"))
    assert [] == list(mirakl.journal.search(after=time.time()))


def test_the_journal_forgets_the_oldest_beyond_its_bound_and_says_so() -> None:
    mirakl = MiraklSimulator(journal_bytes=3 * len(entries({"A": "a"})))
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABCDE"]
    assert (3, 2) == (len(mirakl.journal), mirakl.journal.forgotten)
    assert mirakl.journal.find(tracking_ids[0]) is None
    assert mirakl.journal.find(tracking_ids[4]) is not None


def test_a_journal_file_forgets_nothing() -> None:
    file = io.StringIO()
    mirakl = MiraklSimulator(journal_bytes=1, journal_file=file)
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABC"]
    assert tracking_ids == [json.loads(line)["tracking_id"] for line in file.getvalue().splitlines()]


def test_counters_tell_calls_entries_and_answers() -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, count=1))
    mirakl.add_fault(Fault(effect=Effect.RESET, count=1, taken_in=True))
    for products in ({"A": "a"}, {"A": "a", "B": "b"}, {"C": "c"}):
        delivery = post(mirakl, entries(products))
        assert delivery.ended is not None
        delivery.ended()
    counters = mirakl.counters()
    assert (3, 4, 2, 3, 2) == (
        counters.calls,
        counters.entries,
        counters.taken_in_calls,
        counters.taken_in_entries,
        counters.largest_call,
    )
    assert {"503": 1, "reset": 1, "200": 1} == counters.answers
    assert (0, 1) == (counters.concurrent_calls, counters.most_concurrent_calls)
