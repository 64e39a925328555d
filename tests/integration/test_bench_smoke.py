"""The benchmark runs, and believes no result that is missing, repeated or wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.avro.codec import ResultEncoder
from tests.bench.pace import pace, sparkline
from tests.bench.peers import Peer, compiled
from tests.bench.watch import Results, Sample, WrongResultsError
from tests.bench.workload import Workload
from tests.support.fixtures import cannot_run
from tests.support.parts import PartMissing
from tests.support.records import ReadRecord
from tests.support.service import ROOT

FEW = Workload(requests=3, specifications=3, keyed=True)
MORE = Workload(requests=6, specifications=3, keyed=True)


@pytest.mark.slow
def test_service_and_bare_loops_answer_each_request_once_and_are_timed(kafka_bootstrap: str, tmp_path: Path) -> None:
    runs = _measured(["--dead", "--signed"], kafka_bootstrap, tmp_path)

    assert ["bare loop", "bare with our headers", "service", "service, one dead", "service, signed"] == list(runs)
    assert [500, 500, 500, 437, 500] == [run["results"] for run in runs.values()]
    assert runs["service"]["requests_per_call"] > 1
    assert all(min(run["process_megabytes"]) > 10 for run in runs.values())
    timed = [run["cores_share"] for run in runs.values() if run["cores_share"]]  # all at the first look: no span
    assert all(0 <= shares["program"] < 1 for shares in timed)
    assert all(run["first_seconds"] > 0 for run in runs.values())


@pytest.mark.slow
def test_peers_answer_each_request_as_the_service_does_and_batch_their_calls(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    try:
        compiled()
    except PartMissing as missing:
        cannot_run(missing)

    runs = _measured(["--no-bare", *(f"--peer={each}" for each in Peer)], kafka_bootstrap, tmp_path)

    assert ["java-barrier", "parallel-consumer", "service"] == list(runs)
    assert all(run["requests_per_call"] > 1 for run in runs.values())


def test_results_count_from_the_moment_that_a_committed_reader_sees_them() -> None:
    results = Results([_result(0, offset=0), _result(1, offset=1), _result(2, offset=3)], FEW, frozenset())
    samples = [Sample(float(end), (end,), {}, 0.0) for end in range(5)]  # offset 2 is a transaction marker

    results.check()

    assert [0, 1, 2, 2, 3] == [results.visible(sample) for sample in samples]
    assert [1.0, 2.0, 4.0] == [results.reached(samples, share).at for share in (0.0, 0.5, 1.0)]


def test_requests_of_a_dead_client_specification_do_not_count() -> None:
    results = Results([_result(0), _result(1), _result(2, status="FAILED")], FEW, frozenset({2}))

    results.check()

    assert (2, 1) == (results.expected, results.given_up)
    assert 2 == results.visible(Sample(0.0, (3,), {}, 0.0))


def test_a_pause_of_all_and_the_silence_of_one_client_are_told_apart() -> None:
    results = Results([_result(0, offset=0), _result(1, offset=1), _result(2, offset=2), *_more()], MORE, frozenset())
    ends = [1, 3, 3, 4, 4, 4, 6]  # the requests of the first client are 0 and 3, which comes last
    samples = [Sample(each / 4, (end,), {}, 0.0) for each, end in enumerate(ends)]

    seen = pace(results, samples)

    assert (8, 0, 4, 0, 0, 8) == seen.per_second
    assert (0.75, 1.5) == (seen.longest_pause, seen.longest_silence)
    assert "█ ▄  █" == sparkline(seen.per_second, 8)


@pytest.mark.parametrize(
    ("found", "trouble"),
    [
        ([0, 1], "1 requests got no result"),
        ([0, 1, 2, 1], "1 requests got more than one"),
        ([0, 1, 3], "was never asked for"),
    ],
)
def test_a_missing_or_repeated_or_unasked_result_is_an_error(found: list[int], trouble: str) -> None:
    with pytest.raises((WrongResultsError, ValueError), match=trouble):
        Results([_result(number) for number in found], FEW, frozenset()).check()


def test_repeated_results_of_a_program_that_works_at_least_once_are_counted_and_advance_nothing() -> None:
    again = _result(1, offset=3)
    results = Results([*map(_result, range(3)), again], FEW, frozenset())

    results.check(at_least_once=True)

    assert 1 == results.repeated
    assert 3 == results.visible(Sample(0.0, (4,), {}, 0.0))


def test_a_failed_result_is_an_error() -> None:
    with pytest.raises(WrongResultsError, match="is not what was asked for"):
        Results([_result(0), _result(1), _result(2, status="FAILED")], FEW, frozenset()).check()


def _measured(options: list[str], kafka_bootstrap: str, folder: Path) -> dict[str, Any]:
    """Run the benchmark once, with few requests; each program's run, by its name."""
    figures = folder / "figures.json"
    arguments = ["--requests", "500", "--rounds", "1", "--latency", "5ms", "--json", str(figures), *options]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "TEST_KAFKA_BOOTSTRAP": kafka_bootstrap},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    return {name: run for name, [run] in json.loads(figures.read_text())["report"]["runs"].items()}


def _more() -> list[ReadRecord]:
    return [_result(number, offset=offset) for number, offset in ((4, 3), (5, 4), (3, 5))]


def _result(number: int, *, offset: int | None = None, status: str = "SYNCHRONIZED") -> ReadRecord:
    value = ResultEncoder().encode(
        {
            "requestId": FEW.request_id(number),
            "status": status,
            "synchronizedProducts": FEW.products if status == "SYNCHRONIZED" else 0,
            "clientSpecificationId": FEW.specification_id(FEW.specification_of(number)),
            "trackingIds": [],
            "unsynchronizedProducts": [],
            "error": None,
            "requestedAt": 0,
            "completedAt": 0,
        }
    )
    at = number if offset is None else offset
    return ReadRecord(0, at, FEW.request_id(number).encode(), value, (), 0)
