# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``topics``: the three topics."""

from dataclasses import asdict

import click

from consumer.cli.access import brokers, read_settings
from consumer.cli.options import examples
from consumer.cli.output import message, output_option, show

_COLUMNS = {"topic": "topic", "outcome": "outcome", "details": "details"}


@click.group()
def topics() -> None:
    """The topics of requests, results and dead letters."""


@topics.command(
    epilog=examples(
        "mirakl-resync-consumer topics ensure",
        "mirakl-resync-consumer topics ensure --partitions 24 --replication-factor 3 --retention-days 5",
    )
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Partitions of each topic; an existing topic gets as many where it has fewer.  [default: 12]",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(1, 100),
    metavar="R",
    help="Replicas of a new topic.  [default: the broker's]",
)
@click.option(
    "--retention-days",
    type=click.IntRange(1, 36_500),
    metavar="D",
    help="How long requests are kept; results (7) and dead letters (30) at least as long.  [default: 3]",
)
@output_option
def ensure(partitions: int | None, replication_factor: int | None, retention_days: int | None, output: str) -> None:
    """Create the topics that do not exist; change others only where asked for, or where messages would not fit.

    Requests should not outlive the group's offsets (7 days without members): what is older would be answered again.
    """
    settings = read_settings("kafka", "topics", needs=["RESYNC_KAFKA__BOOTSTRAP_SERVERS"])
    with brokers(settings.kafka) as admin:
        from consumer.adapters.kafka.topics import TopicPlan, check_topics, ensure_topics, names_of

        reports = ensure_topics(admin, settings.topics, TopicPlan(partitions, replication_factor, retention_days))
        findings = check_topics(admin.facts(names_of(settings.topics)), settings.topics)
    rows = [asdict(report) | {"details": "; ".join(report.details)} for report in reports]
    show(rows, output, columns=_COLUMNS)
    for finding in findings:
        if finding.remedy:
            message(f"{finding.level}: {finding.subject}: {finding.message} {finding.remedy}")
