"""Resolution of a request's client specification, a pure function of the directory snapshot."""

from consumer.domain.model import ClientSpecification, Directory
from consumer.domain.outcome import ResyncError, error
from schemas.contract import MAX_ERROR_ROWS, ErrorCode


def resolve(directory: Directory, tenant: str, given: str | None) -> ClientSpecification | ResyncError:
    """Return the specification that was asked for (lower-case id), or the tenant's only active one."""
    return _given(directory, tenant, given) if given is not None else _only_active(directory, tenant)


def unfit(specification: ClientSpecification) -> ResyncError | None:
    """Return the error for a resolved specification that cannot be called: unusable or suspended; ``None``: it can."""
    if specification.unusable is not None:
        return error(ErrorCode.CLIENT_SPECIFICATION_UNUSABLE, name=specification.name, problem=specification.unusable)
    if specification.suspended:
        return error(ErrorCode.CLIENT_SPECIFICATION_SUSPENDED, name=specification.name)
    return None


def _given(directory: Directory, tenant: str, given: str) -> ClientSpecification | ResyncError:
    specification = directory.specifications.get(given)
    if specification is None or specification.tenant != tenant:
        return error(ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND, id=given)
    return specification


def _only_active(directory: Directory, tenant: str) -> ClientSpecification | ResyncError:
    active = directory.active.get(tenant, ())
    if len(active) == 1:
        return directory.specifications[active[0]]
    if not active:
        return error(ErrorCode.NO_ACTIVE_CLIENT_SPECIFICATION)
    listed = f" (the first {MAX_ERROR_ROWS} are listed)" if len(active) > MAX_ERROR_ROWS else ""
    return error(ErrorCode.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS, count=len(active), listed=listed, available=active)
