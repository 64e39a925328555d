"""The address of the schema registry, and the credentials for it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from schemas.registry.errors import RegistryError
from schemas.registry.policy import REGISTRY
from schemas.settings import SchemaRegistrySettings

if TYPE_CHECKING:
    import httpx  # whoever has no registry need not wait for it


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """The registry's base URL and credentials. Credentials inside the URL are used, and never shown."""

    url: str = field(repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """CA certificates (PEM) to trust instead of the system's."""
    timeout: float = REGISTRY.timeout_seconds
    """Seconds for one complete answer."""

    @classmethod
    def of(cls, settings: SchemaRegistrySettings) -> "RegistryAddress | None":
        """Return the configured address; ``None``: there is no registry, and the system works without."""
        if settings.url is None:
            return None
        password = settings.password.get_secret_value() if settings.password else None
        return cls(settings.url, settings.username, password, settings.ca_file)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))

    @property
    def credentials(self) -> "httpx.BasicAuth | None":
        """HTTP Basic credentials, from the settings or from the URL.

        Sent with every request, since a registry need not ask for them with 401.
        """
        import httpx  # noqa: PLC0415 - see above

        if self.username is not None:
            return httpx.BasicAuth(self.username, self.password or "")
        within = httpx.URL(self.url)
        return httpx.BasicAuth(within.username, within.password) if within.username else None

    def trust(self) -> ssl.SSLContext:
        """Return the certificates to trust. Raises `RegistryError` if the CA file does not contain any."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            problem = f"{self.ca_file} contains no CA certificates in PEM form."
            raise RegistryError(problem, "Correct RESYNC_SCHEMA_REGISTRY__CA_FILE.") from error
