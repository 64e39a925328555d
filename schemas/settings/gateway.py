"""The settings of the HTTP gateway."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from schemas.settings.fields import Duration, EdgeModel, Host, separated


def _readable(given: Path) -> Path:
    try:
        with given.open("rb"):
            return given
    except OSError as error:
        raise ValueError(f"cannot read {str(given)!r} ({error.strerror})") from None


def _tokens(given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, token in enumerate(given, 1):
        text = token.get_secret_value()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError(f"number {number} of {len(given)} is not a token: write only visible ASCII characters")
    return given


class GatewaySettings(EdgeModel):
    """Settings of the gateway: its address, the number and duration of waiting calls, and its alerts."""

    host: Host = Field(default="127.0.0.1", description="The address that serves the published HTTP operation.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Its port; 0: any that is free.")
    tls_cert_file: Annotated[Path, AfterValidator(_readable)] | None = Field(
        default=None, description="Certificate chain (PEM) for HTTPS; unset: HTTP."
    )
    tls_key_file: Annotated[Path, AfterValidator(_readable)] | None = Field(
        default=None, description="Its private key (PEM, without a password)."
    )
    wait: Duration = Field(
        default=60.0,
        ge=0.0,
        le=86_400.0,
        description="Time that a call waits for its result unless it asks for another.",
    )
    longest_wait: Duration = Field(
        default=330.0, ge=0.0, le=86_400.0, description="The longest time that a call may ask to wait (`Prefer: wait`)."
    )
    calls: int = Field(default=1_000, ge=1, le=100_000, description="Calls that may wait at the same time.")
    calls_per_key: int = Field(
        default=100, ge=1, le=100_000, description="Maximum of these with the same API key; further ones get 429."
    )
    max_body_bytes: int = Field(
        default=4_194_304, ge=1_024, le=134_217_728, description="A larger body is answered 413."
    )
    alert_rules_file: Path | None = Field(
        default=None,
        description="YAML file with the rules by which alerts become requests; read again when it changes.",
    )
    alert_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(separated), AfterValidator(_tokens)] = Field(
        default=(),
        repr=False,
        description="Bearer tokens for `POST /v1/alerts`, comma-separated: any of them is valid.",
    )

    @field_validator("tls_key_file")
    @classmethod
    def _pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert_file" not in info.data:
            return key
        certificate = info.data["tls_cert_file"]
        if (certificate is None) != (key is None):
            raise ValueError("goes together with RESYNC_GATEWAY__TLS_CERT_FILE: set both or none")
        if certificate is not None and key is not None:
            _check_chain(certificate, key)
        return key


def _check_chain(certificate: Path, key: Path) -> None:
    """Raise ``ValueError`` unless OpenSSL accepts certificate and key as a pair, without asking for a password."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(f"this key and the certificate cannot be used together ({reason})") from None
