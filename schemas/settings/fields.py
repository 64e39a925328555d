"""Base of the settings' models, and types of fields that several of them use."""

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from schemas.settings.durations import parse_duration
from schemas.settings.foreign import check_authorities, check_host


class EdgeModel(BaseModel):
    """The settings of one edge: frozen, no unknown field, and no message that repeats a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def _seconds(given: object) -> object:
    return parse_duration(given) if isinstance(given, str) else given


def separated(given: object) -> object:
    """Split a comma-separated text, without empty parts; anything else is left for pydantic to judge."""
    if not isinstance(given, str):
        return given
    return tuple(part for part in (part.strip() for part in given.split(",")) if part)


def lower(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


def _checked_host(given: str) -> str:
    check_host(given)
    return given


def _authorities(given: Path) -> Path:
    check_authorities(given)
    return given


Duration: TypeAlias = Annotated[float, BeforeValidator(_seconds)]
"""Seconds."""

Host: TypeAlias = Annotated[str, AfterValidator(_checked_host)]
"""A host name or an address that name resolution takes."""

Authorities: TypeAlias = Annotated[Path, AfterValidator(_authorities)]
"""A file of CA certificates in PEM form."""
