"""For each alert the series with which it fires, those with which it nearly does, and what a quiet time looks like.

Series are in promtool's notation, a value a minute: ``0+10x20`` is 0, 10, ... 200. They get the labels ``job`` and
``instance`` of a scrape unless they are given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

REPLICA = {"job": "resync", "instance": "replica-0:8080"}
JOB = {"job": "resync"}
LANE = {"client_specification_id": "0b4ef1f4-5d53-4b0c-8f5c-0d8c8f3f2a11", "tenant": "acme"}
_LANE = ", ".join(f'{name}="{value}"' for name, value in LANE.items())


@dataclass(frozen=True, slots=True)
class Case:
    """One alert at one moment."""

    at: str
    """Time at which both are looked at."""
    fires: Mapping[str, str]
    nearly: Mapping[str, str]
    quiet: Mapping[str, str] = field(default_factory=dict)
    """A quiet night and the little that follows it, or a process that has just begun: it does not fire either."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other series with which it fires."""
    labels: Mapping[str, str] = field(default_factory=lambda: REPLICA)
    """Labels of the alert that fires, without those of the rule."""


_SICK_SECONDS = f"resync_lane_sick_seconds{{{_LANE}}}"


def _lane(state: str) -> str:
    return f'resync_lane_state{{{_LANE}, state="{state}"}}'


def _results(code: str, status: str = "FAILED") -> str:
    return f'resync_results_total{{status="{status}", code="{code}"}}'


def _calls(outcome: str) -> str:
    return f'resync_call_duration_seconds_count{{outcome="{outcome}"}}'


def _commits(le: str) -> str:
    return f'resync_transaction_duration_seconds_bucket{{kind="commit", le="{le}"}}'


def _http(status: int, code: str = "") -> str:
    return f'resync_gateway_calls_total{{status="{status}", code="{code}"}}'


BUILD = {'resync_build_info{version="1.0.0"}': "1x60"}
CASES: Mapping[str, Case] = {
    "ResyncRequestsWait": Case(
        "1m",
        {"resync_oldest_unanswered_request_age_seconds": "601x2"},
        {"resync_oldest_unanswered_request_age_seconds": "600x2"},
    ),
    "ResyncNobodyReads": Case(
        "10m",
        {"resync_joined": "0x20"},
        {"resync_joined": "0x20", 'resync_joined{instance="replica-1:8080"}': "1x8 0x20"},
        labels={},
    ),
    "ResyncIntakeClosed": Case("3m", {"resync_intake_open": "0x9"}, {"resync_intake_open": "0 1 0x9"}),
    "ResyncCannotPublish": Case(
        "2m",
        {'resync_publishing_failures{outlet="results"}': "3x9"},
        {'resync_publishing_failures{outlet="results"}': "2x9"},
        labels={**REPLICA, "outlet": "results"},
    ),
    "ResyncNothingCommits": Case(
        "1m",
        {"resync_oldest_unanswered_request_age_seconds": "361x9", "resync_last_commit_age_seconds": "361x9"},
        {"resync_oldest_unanswered_request_age_seconds": "361x9", "resync_last_commit_age_seconds": "360x9"},
        quiet={
            "resync_oldest_unanswered_request_age_seconds": "0 2 62x9",
            "resync_last_commit_age_seconds": "28800+60x9",
            "resync_in_flight_records": "0 1x9",
        },
        also={"resync_oldest_unanswered_request_age_seconds": "361x9", "resync_commits_total": "0x9"},
    ),
    "ResyncRequestsLost": Case(
        "30m", {"resync_offset_resets_total": "0x20 1x20"}, {"resync_offset_resets_total": "1x40"}
    ),
    "ResyncPartitionUnread": Case("3m", {"resync_unread_partitions": "1x9"}, {"resync_unread_partitions": "1 0 1x9"}),
    "ResyncRegistryUnavailable": Case(
        "6m", {"resync_unavailable_schemas": "1x9"}, {"resync_unavailable_schemas": "1x3 0 1x9"}
    ),
    "ResyncMiraklSick": Case(
        "46m",
        {_lane("sick"): "1x50", _SICK_SECONDS: "30x50"},
        {_lane("sick"): "1x35 0 1x20", _SICK_SECONDS: "30x50"},
        quiet={_lane("sick"): "1x50", _SICK_SECONDS: "30x5 0x50"},
        also={_lane("sick"): "1x50", _SICK_SECONDS: "0x20 30 0x7 30 0x7 30 0x10"},
        labels={**REPLICA, **LANE, "state": "sick"},
    ),
    "ResyncMiraklHangs": Case(
        "6m",
        {_lane("stalled"): "1x20"},
        {_lane("stalled"): "1x3 0 1x20"},
        labels={**REPLICA, **LANE, "state": "stalled"},
    ),
    "ResyncQuotaTooSmall": Case(
        "35m",
        {_lane("throttled"): "1x40", f"resync_lane_depth_requests{{{_LANE}}}": "5x40"},
        {_lane("throttled"): "1x40", f"resync_lane_depth_requests{{{_LANE}}}": "5x20 0 5x20"},
        quiet={_lane("throttled"): "_x30 1x10", f"resync_lane_depth_requests{{{_LANE}}}": "_x30 5x10"},
        labels={**REPLICA, **LANE, "state": "throttled"},
    ),
    "ResyncCredentialRefused": Case(
        "10m",
        {_calls("unauthorized"): "0x5 1x20"},
        {_calls("unauthorized"): "1x20", _calls("refused"): "0x5 1x20"},
        labels={**REPLICA, "outcome": "unauthorized"},
    ),
    "ResyncNoTrackingId": Case(
        "10m",
        {_calls("unacknowledged"): "0x5 1x20"},
        {_calls("unacknowledged"): "1x20"},
        labels={**REPLICA, "outcome": "unacknowledged"},
    ),
    "ResyncSpecificationUnusable": Case(
        "10m",
        {_results("CLIENT_SPECIFICATION_UNUSABLE"): "0x5 1x20"},
        {_results("CLIENT_SPECIFICATION_SUSPENDED"): "0x5 1x20"},
        labels=JOB,
    ),
    "ResyncManyGivenUp": Case(
        "30m",
        {_results("CM21_UNAVAILABLE"): "0+12x40", _results("", "SYNCHRONIZED"): "0+100x40"},
        {_results("CM21_UNAVAILABLE"): "0+11x40", _results("", "SYNCHRONIZED"): "0+100x40"},
        quiet={_results("CM21_UNAVAILABLE"): "0x17 1x40", _results("", "SYNCHRONIZED"): "7x40"},
        labels=JOB,
    ),
    "ResyncReadingHeldBack": Case(
        "40m",
        {"resync_paused_partitions": "1 1 0x0 1x40"},
        {"resync_paused_partitions": "1 0 0" + " 1 0 0" * 15},
        quiet={"resync_paused_partitions": "_x35 1x10"},
    ),
    "ResyncDeadLetters": Case(
        "10m",
        {'resync_dead_letters_total{reason="UNREADABLE"}': "0x5 1x20"},
        {'resync_dead_letters_total{reason="UNREADABLE"}': "7x20"},
        labels={**JOB, "reason": "UNREADABLE"},
    ),
    "ResyncKeysRejected": Case(
        "20m", {_results("API_KEY_INVALID"): "0+2x20"}, {_results("API_KEY_INVALID"): "0+1x20"}, labels=JOB
    ),
    "ResyncReplicaOutside": Case("6m", {"resync_joined": "0x9"}, {"resync_joined": "0x3 1 0x9"}),
    "ResyncReplicaStuck": Case("3m", {"resync_status_age_seconds": "31x9"}, {"resync_status_age_seconds": "30x9"}),
    "ResyncReplicaRestarts": Case(
        "30m",
        {**BUILD, "process_start_time_seconds": "1x5 2x5 3x5 4x20"},
        {**BUILD, "process_start_time_seconds": "1x5 2x5 3x20"},
    ),
    "ResyncTransactionsAbort": Case(
        "30m",
        {"resync_aborts_total": "0+12x40", "resync_commits_total": "0+100x40"},
        {"resync_aborts_total": "0+11x40", "resync_commits_total": "0+100x40"},
        quiet={"resync_aborts_total": "0x17 1x40", "resync_commits_total": "7x17 8x40"},
    ),
    "ResyncTransactionsSlow": Case(
        "30m",
        {_commits("1"): "0+80x40", _commits("2.5"): "0+100x40", _commits("+Inf"): "0+100x40"},
        {_commits("1"): "0+95x40", _commits("2.5"): "0+100x40", _commits("+Inf"): "0+100x40"},
    ),
    "ResyncProgressCut": Case(
        "30m", {"resync_progress_maps_cut_total": "0x20 1x20"}, {"resync_progress_maps_cut_total": "1x40"}
    ),
    "ResyncProgressIgnored": Case(
        "30m", {"resync_progress_maps_ignored_total": "0x20 1x20"}, {"resync_progress_maps_ignored_total": "1x40"}
    ),
    "ResyncVersionsMixed": Case(
        "130m",
        {
            'resync_build_info{version="1.0.0"}': "1x140",
            'resync_build_info{version="1.1.0", instance="replica-1:8080"}': "1x140",
        },
        {
            'resync_build_info{version="1.1.0"}': "1x140",
            'resync_build_info{version="1.1.0", instance="replica-1:8080"}': "1x140",
        },
        labels=JOB,
    ),
    "ResyncMemoryHigh": Case(
        "20m",
        {**BUILD, "process_resident_memory_bytes": "419430401x30"},
        {
            'resync_build_info{version="1.0.0", instance="replica-1:8080"}': "1x30",
            "process_resident_memory_bytes": "419430401x30",
        },
    ),
    "ResyncFileDescriptorsShort": Case(
        "6m",
        {**BUILD, "process_open_fds": "820x9", "process_max_fds": "1024x9"},
        {**BUILD, "process_open_fds": "819x9", "process_max_fds": "1024x9"},
    ),
    "ResyncGatewayRefuses": Case(
        "3m",
        {"resync_gateway_brokers_answer": "1x9", "resync_gateway_reader_up_to_date": "0x9"},
        {"resync_gateway_brokers_answer": "0 1 0x9", "resync_gateway_reader_up_to_date": "1x9"},
    ),
    "ResyncGatewayAnswersLate": Case(
        "30m",
        {_http(504, "RESULT_PENDING"): "0+12x40", _http(200): "0+100x40"},
        {_http(504, "RESULT_PENDING"): "0+11x40", _http(200): "0+100x40"},
        quiet={_http(504, "RESULT_PENDING"): "0x17 1x5 2x40", _http(200): "7x40"},
        labels=JOB,
    ),
    "ResyncGatewayBusy": Case(
        "25m",
        {_http(503, "GATEWAY_BUSY"): "0+1x40"},
        {_http(503, "GATEWAY_BUSY"): "0x4 1x40"},
        labels={**JOB, "code": "GATEWAY_BUSY"},
    ),
    "ResyncGatewayNotWritten": Case(
        "10m",
        {'resync_gateway_requests_written_total{outcome="unknown"}': "0x5 1x20"},
        {
            'resync_gateway_requests_written_total{outcome="unknown"}': "1x20",
            'resync_gateway_requests_written_total{outcome="refused"}': "0x5 1x20",
        },
        labels=JOB,
    ),
    "ResyncGatewayClock": Case(
        "6m", {"resync_gateway_clock_ahead_seconds": "-31x9"}, {"resync_gateway_clock_ahead_seconds": "31x3 30 31x9"}
    ),
    "ResyncAlertRulesWrong": Case(
        "6m", {"resync_gateway_alert_rule_errors": "1x9"}, {"resync_gateway_alert_rule_errors": "1x3 0 1x9"}
    ),
    "ResyncAlertsLeftOut": Case(
        "60m",
        {'resync_gateway_alerts_total{rule="stuck", outcome="INVALID"}': "0+1x70"},
        {'resync_gateway_alerts_total{rule="stuck", outcome="RESOLVED"}': "0+1x70"},
        labels={**JOB, "rule": "stuck", "outcome": "INVALID"},
    ),
}
