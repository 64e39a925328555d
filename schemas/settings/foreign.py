# ruff: noqa: PLC0415  heavy imports stand inside: a command that does not use the setting never loads the library
"""Values that only a library can judge: each check asks that library, the way the programs will use it later.

Every function raises ``ValueError`` with what to do, and never repeats a secret.
"""

import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sqlalchemy import URL

PORTS = range(1, 65_536)

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_PROXY_EXAMPLE = "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special characters percent-encoded"
_URL_EXAMPLE = "write a URL such as https://registry.example.com"
_REFUSED_BY_LIBPQ = re.compile(r"\b(?:invalid|bad value)\b[^\n]*", re.IGNORECASE)
_WHERE = frozenset({"host", "hostaddr", "port", "service"})
_NO_SOCKETS_HERE = "/nonexistent"


def check_url(given: str) -> None:
    """Hold that this is one http(s) URL that the HTTP library takes: host and port, with or without a path."""
    import httpx

    if "," in given:
        raise ValueError("name one URL: several, as Java's clients take them, are not supported")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise ValueError(f"its host or port is not valid: {_URL_EXAMPLE}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(_URL_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "leave the credentials out of it, and set RESYNC_SCHEMA_REGISTRY__USERNAME and __PASSWORD instead"
        )
    if "?" in given or "#" in given:
        raise ValueError("leave out the query or fragment, from ? or # on")
    if port == 0:
        raise ValueError("its port must be 1 to 65535")
    try:
        _ = httpx.Request("GET", f"{given.rstrip('/')}/").url.host
    except Exception:  # noqa: BLE001 - the library's checks raise errors of many kinds
        raise ValueError(f"its host is not a valid name: {_URL_EXAMPLE}") from None
    check_host(parts.hostname)


def check_host(host: str) -> None:
    """Hold that name resolution takes this host, and does not raise where it should fail."""
    try:
        usable = bool(host.encode("idna")) and not re.search(r"[\s/@,\[\]]|[\x00-\x1f]", host)
    except UnicodeError:
        usable = False
    if not usable:
        raise ValueError(f"{host!r} is not a host name or address")


def check_authorities(path: Path) -> None:
    """Raise ``ValueError`` unless the file contains CA certificates in PEM form that OpenSSL can load."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{str(path)!r} holds no CA certificates in PEM form") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueError(f"cannot read {str(path)!r} ({reason}): name a file of CA certificates in PEM form") from None


def trust_mistakes(environ: Mapping[str, str]) -> Iterator[str]:
    """Return mistakes in OpenSSL's own variables; it ignores them silently, and then trusts no server."""
    if file := environ.get("SSL_CERT_FILE"):
        try:
            check_authorities(Path(file))
        except ValueError as error:
            yield f"SSL_CERT_FILE: {error}. Correct or unset it."
    for folder in filter(None, environ.get("SSL_CERT_DIR", "").split(os.pathsep)):
        try:
            os.listdir(folder)  # noqa: PTH208 - a path with a NUL is a ValueError here
        except (OSError, ValueError):
            yield f"SSL_CERT_DIR: there is no readable directory {folder!r}. Correct or unset it."


def check_proxy(given: str) -> None:
    """Hold that the HTTP library takes this URL of a proxy: http(s), host and port, with or without credentials."""
    import httpx

    try:
        url = httpx.Proxy(given).url
        check_host(url.host)
    except Exception:  # noqa: BLE001 - the library's checks raise errors of many kinds
        raise ValueError(f"this is not the URL of a proxy: {_PROXY_EXAMPLE}") from None
    if url.scheme.startswith("socks"):
        raise ValueError("SOCKS proxies are not supported: write http://HOST:PORT")
    if url.port is not None and url.port not in PORTS:
        raise ValueError("its port must be 1 to 65535")
    if url.path not in {"", "/"} or "?" in given or "#" in given:
        raise ValueError(f"it has a path, query or fragment: {_PROXY_EXAMPLE}")


def proxy_mistakes(environ: Mapping[str, str], variables: Iterable[str] = _PROXY_VARIABLES) -> Iterator[str]:
    """Return mistakes in the proxies of the environment; ``variables``: their names in upper case.

    Only what is used is judged: a lower-case name that is set, be it to nothing, hides the upper-case one
    (``urllib.request.getproxies_environment``).
    """
    for name in variables:
        variable = name.lower() if name.lower() in environ else name
        if given := environ.get(variable):
            try:
                check_proxy(with_scheme(given))
            except ValueError as error:
                yield f"{variable}: {error}. Correct or unset it."


def with_scheme(proxy: str) -> str:
    """Return the URL of a proxy as variables of the environment may have it: without a scheme, ``http://`` is meant."""
    return proxy if "://" in proxy else f"http://{proxy}"


def check_database_url(given: str) -> None:
    """Raise ``ValueError`` unless SQLAlchemy and the driver accept this URL.

    Makes no connection. The message repeats no part of the URL, which may contain a password.
    """
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(given)
    except Exception:  # noqa: BLE001 - its words may repeat a part of the password
        raise ValueError(
            "this is not a database URL: write sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, "
            "special characters percent-encoded"
        ) from None
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:") or url.query or url.host:
            raise ValueError("name a SQLite file and nothing more: sqlite:///FILE, with four slashes for /FILE")
        return
    if "@" in (url.host or "") + (url.database or ""):
        raise ValueError("it holds a second @: percent-encode the special characters of its password")
    if url.port is not None and url.port not in PORTS:
        raise ValueError("its port must be 1 to 65535")
    _check_libpq(url.set(drivername="postgresql+psycopg"))


def _check_libpq(url: "URL") -> None:
    """The driver looks at its parameters before it connects: here to a folder of sockets that does not exist."""
    import psycopg
    from sqlalchemy import create_engine

    try:
        _, arguments = create_engine(url).dialect.create_connect_args(url)
        given = {name: value for name, value in arguments.items() if name not in _WHERE and name != "context"}
        psycopg.connect(host=_NO_SOCKETS_HERE, **given).close()
    except psycopg.Error as error:
        said = str(error)
    except Exception as error:  # noqa: BLE001 - whatever the libraries refuse, it is the URL
        said = f"invalid ({type(error).__name__})"
    else:
        return
    refused = _REFUSED_BY_LIBPQ.search(said)
    if refused is not None:
        words = "" if url.password and str(url.password) in refused[0] else f" ({refused[0].strip()[:200]})"
        raise ValueError(f"the driver refuses it{words}: correct the part behind the ?")
