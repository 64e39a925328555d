"""``mirakl-resync alerts``."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from producer_tools.alerts.asked import AskedRequests
from producer_tools.alerts.intake import AlertIntake, Answer
from producer_tools.alerts.notification import NotANotification, Notification, read_notification
from producer_tools.alerts.planning import PlannedRequest
from producer_tools.alerts.rules import Annotation, Label, PairOfLabels, ProductSource, Rule, Rules
from producer_tools.alerts.rules_file import load_rules
from producer_tools.environment import tool_settings
from producer_tools.errors import InvalidRequestError, Mistake
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import Problem
from producer_tools.gateway.request_writer import Publication, Written
from producer_tools.gateway.strict_json import NotStrictJsonError, parse
from producer_tools.publisher import encoded
from producer_tools.topic_reader import Headers
from schemas.avro.codec import RequestEncoder
from schemas.console.output import Output, Table, output_option, say, write_json
from schemas.console.program import examples
from schemas.contract import GatewayCode
from schemas.events import ProductResyncRequested
from schemas.exit_codes import ExitCode
from schemas.settings import Settings, format_duration

EXAMPLES = examples(
    "mirakl-resync alerts check rules.yaml",
    "mirakl-resync alerts check rules.yaml --payload notification.json",
    "mirakl-resync alerts check rules.yaml --payload - --output json < notification.json",
    more="""\b
Exit codes:
  0    no errors
  2    errors, each with its line
""",
)


@click.group(epilog=EXAMPLES)
def alerts() -> None:
    """Check the rules by which the gateway turns alerts into requests."""


@alerts.command(epilog=EXAMPLES)
@click.argument("rules", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--payload",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A notification of Alertmanager or Grafana (JSON); - is standard input.",
)
@output_option(Output.TABLE, Output.JSON)
def check(*, rules: str, payload: str | None, output: str) -> int:
    """Check a rules file, and show what a notification would become.

    Reports every error of the RULES with its line. With --payload, shows the requests that the alerts would become,
    and why each of the others would not. Product files are read; API keys are not. Needs no Kafka and sends nothing.
    """
    form = Output(output)
    settings = tool_settings(("max_products_per_request", "max_request_bytes"), needs=())
    loaded = load_rules(Path(rules), None)
    if loaded.rules is None:
        raise InvalidRequestError(loaded.mistakes)
    if payload is None:
        _show_rules(loaded.rules, form)
        say(f"{len(loaded.rules.rules)} rules, no errors")
        return ExitCode.DONE
    answer = asyncio.run(_answer(_notification(payload), loaded.rules, settings))
    _show_answer(answer, form)
    say(
        f"{len(answer.requests)} requests, {len(answer.repeated)} repeated, "
        f"{len(answer.skipped)} alerts left out; nothing was sent"
    )
    return ExitCode.DONE


def _notification(payload: str) -> Notification:
    shown = "standard input" if payload == "-" else payload
    try:
        body = parse(
            sys.stdin.buffer.read() if payload == "-" else Path(payload).read_bytes(), GatewayPolicy().max_nesting
        )
    except OSError as error:
        raise InvalidRequestError([Mistake(shown, f"cannot be read ({error.strerror})")]) from None
    except NotStrictJsonError as error:
        raise InvalidRequestError([Mistake(shown, f"cannot be read: {error}")]) from None
    notification = read_notification(body)
    if isinstance(notification, NotANotification):
        raise InvalidRequestError([Mistake(shown, notification.message)])
    return notification


class _NothingIsSent:
    """Accepts every request that the service could read."""

    def __init__(self, settings: Settings) -> None:
        self._encoder = RequestEncoder()
        self._max_bytes = settings.max_request_bytes

    async def publish(self, request: ProductResyncRequested, headers: Headers) -> Publication:  # noqa: ARG002 - a port
        try:
            encoded(request, self._encoder, self._max_bytes)
        except InvalidRequestError:
            return Publication(
                Written.NOT_WRITTEN, Problem.of_gateway(GatewayCode.REQUEST_TOO_LARGE, limit=self._max_bytes)
            )
        return Publication(Written.ACKNOWLEDGED)


async def _answer(notification: Notification, rules: Rules, settings: Settings) -> Answer:
    """Decide as a gateway does that has just been started."""
    intake = AlertIntake(
        _NothingIsSent(settings), lambda: rules, AskedRequests(), max_products=settings.max_products_per_request
    )
    return await intake.settle(notification)


def _show_answer(answer: Answer, output: Output) -> None:
    if output is Output.JSON:
        details = {
            name: [row | _details(request) for row, request in zip(answer.body()[name], requests, strict=True)]
            for name, requests in (("requests", answer.requests), ("repeated", answer.repeated))
        }
        write_json(answer.body() | details)
        return
    rows = [(*_request_row(each), "becomes a request") for each in answer.requests]
    rows += [(*_request_row(each), "is repeated") for each in answer.repeated]
    rows += [
        (each.fingerprint or "-", each.rule or "-", "-", "-", f"{each.reason.value}: {each.message}")
        for each in answer.skipped
    ]
    Table("alert", "rule", "request", "products", "outcome").write(rows)


def _details(request: PlannedRequest) -> Mapping[str, Any]:
    """Return what the answer of the gateway does not contain."""
    return {
        "clientSpecificationId": request.client_specification_id,
        "reason": request.reason,
        "productReferences": [{"miraklProductId": mirakl_id, "productSku": sku} for mirakl_id, sku in request.products],
    }


def _request_row(request: PlannedRequest) -> tuple[str, str, str, str]:
    return request.fingerprint, request.rule.name, request.request_id, str(len(request.products))


# --- rules ----------------------------------------------------------------------------------------------------------


def _show_rules(rules: Rules, output: Output) -> None:
    if output is Output.JSON:
        write_json({"rules": [_rule_json(rule) for rule in rules.rules]})
    else:
        Table("rule", "match", "products", "again after", "an hour", "").write(map(_rule_row, rules.rules))


def _rule_json(rule: Rule) -> Mapping[str, Any]:
    return {
        "name": rule.name,
        "match": {label: sorted(values) for label, values in rule.match.items()},
        "products": _source(rule.products),
        "client_specification": _shown(rule.client_specification),
        "reason": _shown(rule.reason),
        "again_after": None if rule.again_after is None else format_duration(rule.again_after),
        "max_products": rule.max_products,
        "max_requests_per_hour": rule.max_requests_per_hour,
        "own": rule.own,
        "dry_run": rule.dry_run,
    }


def _rule_row(rule: Rule) -> Sequence[str]:
    match = ", ".join(f"{label}={'|'.join(sorted(values))}" for label, values in rule.match.items())
    again = "never" if rule.again_after is None else format_duration(rule.again_after)
    return (
        rule.name,
        match,
        _source(rule.products),
        again,
        f"at most {rule.max_requests_per_hour}",
        "dry run" if rule.dry_run else "",
    )


def _source(source: ProductSource) -> str:
    match source:
        case Annotation(name):
            return f"annotation {name}"
        case PairOfLabels(mirakl_product_id, product_sku):
            return f"labels {mirakl_product_id}, {product_sku}"
        case _:
            return f"{len(source.products)} listed"


def _shown(value: str | Label | Annotation | None) -> str | None:
    match value:
        case Label(name):
            return f"label {name}"
        case Annotation(name):
            return f"annotation {name}"
        case _:
            return value
