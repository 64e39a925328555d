"""Client specifications, for the commands `clients`."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Engine, RowMapping, delete, insert, update

from consumer.adapters.mirakl.address import base_url_problem
from consumer.adapters.stores.encryption import Binding, Encryption, Undecryptable, credential_problem
from consumer.adapters.stores.limits import LIMITS
from consumer.adapters.stores.rows import (
    AdministrationError,
    EncryptionKeysNeededError,
    Values,
    by_id,
    named,
    reading,
    refuse_name,
    rows,
    writing,
)
from consumer.adapters.stores.tables import DEFAULT_TENANT, client_specifications, instant
from consumer.domain.base_url import ANY_HOST, HostRules, normalised, origin
from consumer.domain.model import AuthScheme
from schemas.contract import canonical_uuid

_WRITTEN_INTO_URL = re.compile(r"//[^/]*@")
"""A user name and password that somebody wrote into a base URL by hand; such a specification is unusable."""


@dataclass(frozen=True, slots=True)
class ClientSpecificationRow:
    """A stored client specification as ``clients list`` shows it: its credential left out."""

    id: str
    tenant: str
    name: str
    base_url: str
    auth_scheme: str
    active: bool
    suspended: bool
    products_per_call: int
    concurrent_calls: int
    calls_per_hour: int | None
    created_at: datetime | None
    """``None``: written by hand, and no time."""
    updated_at: datetime | None


class SpecificationOptions(TypedDict, total=False):
    """Optional values of a new client specification; what is left out gets the default."""

    id: str
    auth_scheme: AuthScheme
    active: bool
    products_per_call: int
    concurrent_calls: int
    calls_per_hour: int | None


class SpecificationChanges(SpecificationOptions, total=False):
    """Values of a client specification that can be changed; the credential in plain text."""

    name: str
    base_url: str
    credential: str


class ClientSpecifications:
    """The stored client specifications. Every method raises :class:`AdministrationError` or :class:`StoreError`.

    A row is named by its id, or by its name within a tenant (``None``: the default tenant).
    """

    def __init__(self, engine: Engine, encryption: Encryption | None = None, hosts: HostRules = ANY_HOST) -> None:
        """``encryption`` is needed where a credential is given, or has to be bound to another id or origin."""
        self._engine = engine
        self._encryption = encryption
        self._hosts = hosts

    def add(
        self,
        name: str,
        base_url: str,
        credential: str,
        tenant: str = DEFAULT_TENANT,
        **options: Unpack[SpecificationOptions],
    ) -> ClientSpecificationRow:
        """Store a new specification, with a new id if none is given.

        Raises :class:`AdministrationError` where a value breaks a rule or the name is taken in its tenant.
        """
        refuse_name(tenant, "tenant")
        changes: SpecificationChanges = {"name": name, "base_url": base_url, "credential": credential, **options}
        now = datetime.now(UTC)
        values: Values = {"id": str(uuid.uuid4()), "tenant": tenant, "created_at": now} | self._checked(changes)
        values["credential"] = self._encrypted(credential, binding(values))
        with writing(self._engine) as connection:
            _refuse_taken(connection, values)
            connection.execute(insert(client_specifications).values(values | {"updated_at": now}))
            return _row(by_id(connection, client_specifications, values["id"]))

    def set(
        self, identifier: str, tenant: str | None = None, **changes: Unpack[SpecificationChanges]
    ) -> ClientSpecificationRow:
        """Change the given values and keep the rest. Raises :class:`AdministrationError`.

        The credential is bound to tenant, id and origin of the base URL, so a change of these encrypts it anew and
        needs the encryption keys.
        """
        return self._update(identifier, tenant, self._checked(changes))

    def list(self, tenant: str | None = None) -> tuple[ClientSpecificationRow, ...]:
        """Return the specifications of a tenant, or of all tenants, by tenant and name."""
        with reading(self._engine) as connection:
            return tuple(map(_row, rows(connection, client_specifications, tenant)))

    def get(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """Return one specification by id or name. Raises :class:`AdministrationError` if there is none."""
        with reading(self._engine) as connection:
            return _row(_found(connection, identifier, tenant))

    def activate(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """Use it for requests that name none, as long as it is the tenant's only active one."""
        return self._update(identifier, tenant, {"active": True})

    def deactivate(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """Use it only for requests that name it by id."""
        return self._update(identifier, tenant, {"active": False})

    def suspend(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """Stop calling its Mirakl; requests are answered that it is suspended."""
        return self._update(identifier, tenant, {"suspended": True})

    def resume(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """End a suspension: its Mirakl is called again, within 5 s."""
        return self._update(identifier, tenant, {"suspended": False})

    def remove(self, identifier: str, tenant: str | None = None) -> ClientSpecificationRow:
        """Delete it with its credential, and return what it was. Requests that name it are answered 404."""
        with writing(self._engine) as connection:
            row = _found(connection, identifier, tenant)
            connection.execute(delete(client_specifications).where(client_specifications.c.id == row["id"]))
            return _row(row)

    def _update(self, identifier: str, tenant: str | None, values: Values) -> ClientSpecificationRow:
        with writing(self._engine) as connection:
            row = _found(connection, identifier, tenant)
            _refuse_taken(connection, {"tenant": row["tenant"], **values}, besides=row["id"])
            values = self._with_bound_credential(row, values)
            connection.execute(
                update(client_specifications)
                .where(client_specifications.c.id == row["id"])
                .values(values | {"updated_at": datetime.now(UTC)})
            )
            return _row(by_id(connection, client_specifications, values.get("id", row["id"])))

    def _checked(self, changes: SpecificationChanges) -> Values:
        """Return the given values as column values, or raise ``AdministrationError``."""
        values: Values = dict(changes)
        if "name" in changes:
            refuse_name(changes["name"], "name")
        if "id" in changes:
            values["id"] = _checked_id(changes["id"])
        if "auth_scheme" in changes:
            values["auth_scheme"] = AuthScheme(changes["auth_scheme"]).value
        if "base_url" in changes:
            values["base_url"] = self._checked_base_url(changes["base_url"])
        if "credential" in changes:
            self._check_credential(changes["credential"])
        for column, limit in LIMITS.items():
            if column in values and not limit.allows(values[column]):
                raise AdministrationError(f"{values[column]!r} is out of range.", f"{column} must be {limit}.")
        return values

    def _checked_base_url(self, base_url: str) -> str:
        problem = base_url_problem(base_url, self._hosts)
        if problem:
            raise AdministrationError(*problem)
        return normalised(base_url)

    def _check_credential(self, credential: str) -> None:
        problem = credential_problem(credential)
        if problem:
            raise AdministrationError(*problem)
        if self._encryption is None:
            raise EncryptionKeysNeededError

    def _encrypted(self, credential: str, binding: Binding) -> str:
        if self._encryption is None:
            raise EncryptionKeysNeededError
        return self._encryption.encrypt(credential, binding)

    def _with_bound_credential(self, row: RowMapping, values: Values) -> Values:
        """Bind the credential to the row's new values, and replace the form of earlier releases."""
        before, after = binding(row), binding({**row, **values})
        if "credential" in values:
            return values | {"credential": self._encrypted(values["credential"], after)}
        if self._encryption is None:
            if before != after:
                raise EncryptionKeysNeededError
            return values
        stored = str(row["credential"])
        found = self._encryption.decrypt(stored, before)
        if isinstance(found, Undecryptable):
            # An id or a base URL that somebody changed in SQL may be put right again.
            if before != after and isinstance(self._encryption.decrypt(stored, after), Undecryptable):
                raise AdministrationError(
                    "The stored credential cannot be decrypted, so it cannot be kept for another id or base URL.",
                    "Give it anew with --credential-file.",
                )
            return values
        if found.bound and before == after:
            return values
        return values | {"credential": self._encryption.encrypt(found.secret, after)}


def binding(row: Mapping[str, Any] | RowMapping) -> Binding:
    """Return where the credential of a row may be used; nowhere (no use) if its base URL has no origin."""
    base_url = str(row["base_url"])
    try:
        where = origin(base_url)
    except (ValueError, KeyError):
        where = ""
    return Binding(str(row["tenant"]), canonical_uuid(str(row["id"])) or "", where)


def _row(stored: RowMapping) -> ClientSpecificationRow:
    return ClientSpecificationRow(
        id=stored["id"],
        tenant=stored["tenant"],
        name=stored["name"],
        base_url=_WRITTEN_INTO_URL.sub("//***@", str(stored["base_url"])),
        auth_scheme=stored["auth_scheme"],
        active=bool(stored["active"]),
        suspended=bool(stored["suspended"]),
        products_per_call=stored["products_per_call"],
        concurrent_calls=stored["concurrent_calls"],
        calls_per_hour=stored["calls_per_hour"],
        created_at=instant(stored["created_at"]),
        updated_at=instant(stored["updated_at"]),
    )


def _found(connection: Connection, identifier: str, tenant: str | None) -> RowMapping:
    (row,) = named(connection, client_specifications, identifier, tenant)
    return row


def _refuse_taken(connection: Connection, values: Values, besides: str | None = None) -> None:
    """Raise ``AdministrationError`` for what the table's unique constraints would refuse."""
    for row in rows(connection, client_specifications, None):
        if row["id"] == besides:
            continue
        if row["id"] == values.get("id"):
            raise AdministrationError(
                f"The id {row['id']} is taken by {row['name']!r} of tenant {row['tenant']!r}.", "Choose another one."
            )
        if (row["tenant"], row["name"]) == (values["tenant"], values.get("name")):
            raise AdministrationError(
                f"Tenant {row['tenant']!r} already has a client specification {row['name']!r}.", "Choose another name."
            )


def _checked_id(given: str) -> str:
    specification_id = canonical_uuid(given)
    if specification_id is None:
        raise AdministrationError(f"{given!r} is not an id.", "It must be a UUID in its 36-character form.")
    return specification_id
