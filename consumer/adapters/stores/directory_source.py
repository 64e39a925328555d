"""The directory as the engine asks for it."""

import logging

from consumer.adapters.stores.database import StoreError
from consumer.adapters.stores.directory import DirectoryReader
from consumer.domain.model import Directory
from consumer.domain.share import Share
from consumer.engine.ports import SourceError
from schemas.explanation import Explanation

_log = logging.getLogger(__name__)


class StoredDirectory:
    """Reads snapshots of the stores, with this process's share of the quotas.

    Every failure becomes the engine's ``SourceError``.
    """

    def __init__(self, reader: DirectoryReader, share: Share) -> None:
        self._reader = reader
        self._share = share
        self._warned: tuple[Explanation, ...] = ()

    def read(self, known_version: int | None) -> Directory | None:
        """Return the snapshot, or ``None`` if it is still the known one; logs warnings about rows when they change.

        Raises ``SourceError`` whatever fails: a defect, or a row nobody expected, closes the intake and ends nothing.
        """
        try:
            directory = self._reader.read(known_version)
        except StoreError as error:
            _log.error("%s", error)
            raise SourceError(error.problem, error.remedy) from error
        except Exception as defect:
            _log.exception("a defect prevents the database from being read")
            problem = f"The database cannot be read ({type(defect).__name__})."
            raise SourceError(problem, "See the log; correct the row, or report it.") from defect
        if self._reader.warnings != self._warned:
            self._warned = self._reader.warnings
            for warning in self._warned:
                _log.warning("%s", warning)
        return None if directory is None else self._share.of_directory(directory)
