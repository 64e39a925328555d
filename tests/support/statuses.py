"""Engine statuses to begin a test with."""

from consumer.engine.status import EngineStatus

IDLE = EngineStatus(
    taken_at=100.0,
    joined=True,
    stopping=False,
    troubles=(),
    intake_open=True,
    intake_closed={},
    oldest_unanswered_seconds=0.0,
    in_flight_records=0,
    in_flight_bytes=0,
    window_used={},
    paused_partitions=0,
    pauses=0,
    lanes=(),
    quota_plan=0,
    answered={},
    dead_letters={},
    discarded=0,
    progress_maps_ignored=0,
    offset_resets=0,
    unread_partitions=0,
    unavailable_schemas=0,
    holes=0,
    commits=0,
    aborts=0,
    publishing_failures={},
    progress_maps_cut=0,
    last_commit_at=None,
)
"""Joined, and nothing has happened yet."""
