"""Which client specification does a request use? A pure function of the directory snapshot."""

from consumer.domain.model import ClientSpecification, Directory
from consumer.domain.outcome import MAX_ROWS, Code, ResyncError, error


def resolve(directory: Directory, tenant: str, given: str | None) -> ClientSpecification | ResyncError:
    """Give the specification that was asked for (lower-case id), or the tenant's only active one."""
    return _given(directory, tenant, given) if given is not None else _only_active(directory, tenant)


def unfit(specification: ClientSpecification) -> ResyncError | None:
    """Say why a specification that was resolved cannot be called, if so."""
    if specification.unusable is not None:
        return error(
            Code.CLIENT_SPECIFICATION_UNUSABLE,
            f"The client specification {specification.name} cannot be used; have an administrator correct it, "
            f"then ask again: {specification.unusable}",
        )
    if specification.suspended:
        return error(
            Code.CLIENT_SPECIFICATION_SUSPENDED,
            f"The client specification {specification.name} is suspended: ask again once an operator has resumed it.",
        )
    return None


def _given(directory: Directory, tenant: str, given: str) -> ClientSpecification | ResyncError:
    specification = directory.specifications.get(given)
    if specification is None or specification.tenant != tenant:
        return error(
            Code.CLIENT_SPECIFICATION_NOT_FOUND,
            f"There is no client specification {given}: correct the id, or leave it out to use the only active one.",
        )
    return specification


def _only_active(directory: Directory, tenant: str) -> ClientSpecification | ResyncError:
    active = directory.active.get(tenant, ())
    if len(active) == 1:
        return directory.specifications[active[0]]
    if not active:
        return error(
            Code.NO_ACTIVE_CLIENT_SPECIFICATION,
            "No client specification is active: activate one, or name the one to use in clientSpecificationId.",
        )
    listed = f"{len(active)} client specifications are active"
    if len(active) > MAX_ROWS:
        listed += f" (the first {MAX_ROWS} are listed)"
    return error(
        Code.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS,
        f"{listed}: name the one to use in clientSpecificationId.",
        available=active,
    )
