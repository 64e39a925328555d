"""The settings of the way to Mirakl: proxy, trusted certificates, allowed hosts."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from schemas.settings.fields import Authorities, EdgeModel, lower, separated
from schemas.settings.foreign import check_proxy

_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|[0-9a-f:]*:[0-9a-f:.]+")
"""A host name with or without ``*.`` in front, or an address."""


def _proxy_url(given: SecretStr) -> SecretStr:
    check_proxy(given.get_secret_value())
    return given


def _hosts(given: frozenset[str]) -> frozenset[str]:
    if not given:
        raise ValueError("it names no host: name those that may be called, or unset it to allow any")
    for host in given:
        if not _PATTERN.fullmatch(host) or ".." in host:
            raise ValueError(
                f"{host!r} is not a host: write only names, comma-separated, such as acme.mirakl.net or *.mirakl.net"
            )
    return frozenset(host.removesuffix(".") for host in given)


class MiraklSettings(EdgeModel):
    """Settings of the way to Mirakl: the proxy, further certificate authorities, and the hosts that may be called."""

    proxy_url: Annotated[SecretStr, AfterValidator(_proxy_url)] | None = Field(
        default=None,
        repr=False,
        description="The proxy to every `https://` Mirakl: `http://USER:PASSWORD@HOST:PORT`; "
        "unset: `HTTPS_PROXY`, except for hosts in `NO_PROXY`.",
    )
    ca_file: Authorities | None = Field(
        default=None, description="CA certificates (PEM) to trust instead of the public authorities."
    )
    allowed_hosts: (
        Annotated[frozenset[str], BeforeValidator(separated), BeforeValidator(lower), AfterValidator(_hosts)] | None
    ) = Field(
        default=None,
        description="Hosts that Mirakl may be called at, comma-separated; `*.mirakl.net`: every host below it; "
        "unset: any.",
    )
