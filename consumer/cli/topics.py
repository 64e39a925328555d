"""``topics``: the three topics."""

from dataclasses import asdict

import click

from consumer.adapters.kafka.topic_admin import TopicAdmin, names_of
from consumer.adapters.kafka.topic_checks import check_topics
from consumer.adapters.kafka.topics import TopicPlan, ensure_topics
from consumer.cli.access import read_settings
from consumer.cli.options import output_option
from schemas.console.output import Output, say, show
from schemas.console.program import examples

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
    """Create missing topics; change existing ones only if asked to, or if messages would not fit.

    Requests should not outlive the group's offsets (7 days without members): older requests would be answered again.
    """
    settings = read_settings("kafka", "topics", needs=["RESYNC_KAFKA__BOOTSTRAP_SERVERS"])
    admin = TopicAdmin(settings.kafka)
    reports = ensure_topics(admin, settings.topics, TopicPlan(partitions, replication_factor, retention_days))
    findings = check_topics(admin.facts(names_of(settings.topics)), settings.topics)
    rows = [asdict(report) | {"details": "; ".join(report.details)} for report in reports]
    show(rows, Output(output), columns=_COLUMNS)
    for finding in findings:
        if finding.remedy:
            say(f"{finding.level}: {finding}")
