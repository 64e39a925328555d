"""Whether spans can be exported, for ``doctor``: the variables, and an export of no spans."""

from collections.abc import Iterator, Mapping
from typing import Final

from consumer import __version__
from consumer.adapters.finding import Finding, Level
from consumer.adapters.observability.otlp import OtlpExporter
from consumer.adapters.observability.otlp_settings import read_otlp_settings
from consumer.adapters.observability.span_queue import CHECK_COLLECTOR
from schemas.settings import SettingsError

ANSWER_SECONDS: Final = 3.0
"""Time for the collector to answer, a second attempt included."""


def check_tracing(environ: Mapping[str, str], settings_subject: str) -> Iterator[Finding]:
    """Check OpenTelemetry's variables and, if spans are exported, whether the collector takes them."""
    try:
        otlp = read_otlp_settings(environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            problem, _, remedy = mistake.partition(". ")
            yield Finding(Level.FAIL, settings_subject, f"{problem}.", remedy)
        return
    if otlp is None:
        return
    exporter = OtlpExporter(otlp.endpoint, __version__, "doctor", timeout=ANSWER_SECONDS)
    reason = exporter.export([])
    exporter.close()
    if reason is None:
        yield Finding(Level.OK, "traces", f"{otlp.endpoint} takes spans.")
    else:
        found = f"{otlp.endpoint} does not take spans ({reason}): they will be lost, and nothing else."
        yield Finding(Level.WARN, "traces", found, CHECK_COLLECTOR)
