"""The nouns of the domain: who asks, for what, and which Mirakl it concerns.

A *request* names products as a mapping of Mirakl product id to SKU: once validated, the same id cannot
stand there twice with different SKUs, and exact repeats are one entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from schemas.explanation import Explanation
from schemas.signature import signer

Products: TypeAlias = Mapping[str, str]
"""``miraklProductId`` -> ``productSku``, in the order of the request."""


class AuthScheme(StrEnum):
    """Form of the credential in the header ``Authorization``, a property of the client specification (CM21.md)."""

    BEARER = "bearer"
    API_KEY = "api-key"


class Role(StrEnum):
    """Role of an API key. Only ``OPERATOR`` may resynchronize; the others exist for the platform's other operations."""

    OPERATOR = "OPERATOR"
    ACCOUNT = "ACCOUNT"
    SUPPLIER = "SUPPLIER"


@dataclass(frozen=True, slots=True)
class QuotaPart:
    """Part of the quotas of a client specification that one process may use."""

    concurrent_calls: int
    calls_per_hour: int | None
    """``None``: no limit."""
    processes: int = 1
    """Processes that may come to share the quotas."""


@dataclass(frozen=True, slots=True)
class ClientSpecification:
    """One Mirakl client configuration, as the directory snapshot holds it.

    ``credential`` is the decrypted secret and never part of a ``repr``. Where it cannot be decrypted, or the base URL
    cannot be used, ``unusable`` says why, and ``credential`` is empty.
    """

    id: str
    """UUID, 36 characters, lower case."""
    tenant: str
    name: str
    base_url: str
    credential: str = field(repr=False)
    auth_scheme: AuthScheme
    active: bool
    suspended: bool
    products_per_call: int
    concurrent_calls: int
    calls_per_hour: int | None
    unusable: Explanation | None = None
    changed_at: str = ""
    """The row's time of change as stored: differs after any change, also one that restored all other values."""
    part: QuotaPart | None = field(default=None, compare=False)
    """This process's part of the quotas, which is no property of the row; ``None``: all of them."""

    @property
    def quota(self) -> QuotaPart:
        """Part of the quotas that this process may use."""
        return self.part or QuotaPart(self.concurrent_calls, self.calls_per_hour)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as the stores know it; only its owner knows the key itself."""

    id: str
    tenant: str
    name: str
    role: Role
    expires_at: float | None
    """Seconds since the epoch, UTC; ``None``: never."""
    revoked: bool
    signing_secret: bytes | None = field(default=None, repr=False)
    """As ``schemas.signature.signing_secret`` derives it from the key; ``None``: the key cannot sign."""


@dataclass(frozen=True, slots=True)
class Directory:
    """An immutable snapshot of the stores, all that authorization and resolution look at.

    ``version`` changes with every change of the tables. ``api_keys`` is keyed by the SHA-256 digest
    (32 bytes) of the key's UTF-8 bytes; ``active`` lists, per tenant, the ids of its active
    specifications, sorted.
    """

    version: int
    specifications: Mapping[str, ClientSpecification]
    api_keys: Mapping[bytes, ApiKey] = field(repr=False)
    active: Mapping[str, tuple[str, ...]]
    signers: Mapping[str, tuple[ApiKey, ...]] = field(default_factory=dict, repr=False)
    """The keys again, by what a signature names them by: the first 16 hex digits of the digest."""
    quota_plan: int = 0
    """Number of the plan by which the quotas are divided among the processes of the replica; 0: by none."""


def build_directory(
    version: int, specifications: list[ClientSpecification], api_keys: Mapping[bytes, ApiKey]
) -> Directory:
    """Index the rows of the stores: active specifications by tenant, and keys by digest and by signer.

    ``api_keys``: SHA-256 of the key (32 bytes) -> the key's row.
    """
    active: dict[str, list[str]] = {}
    for specification in specifications:
        if specification.active:
            active.setdefault(specification.tenant, []).append(specification.id)
    signers: dict[str, tuple[ApiKey, ...]] = {}
    for digest, key in api_keys.items():
        name = signer(digest)
        signers[name] = (*signers.get(name, ()), key)
    return Directory(
        version=version,
        specifications={specification.id: specification for specification in specifications},
        api_keys=dict(api_keys),
        active={tenant: tuple(sorted(ids)) for tenant, ids in active.items()},
        signers=signers,
    )
