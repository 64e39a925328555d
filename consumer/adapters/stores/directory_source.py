"""The directory as the engine asks for it."""

import logging
from collections.abc import Callable

from consumer.adapters.stores.database import StoreError
from consumer.adapters.stores.directory import DirectoryReader
from consumer.domain.model import Directory
from consumer.domain.share import Share
from consumer.engine.ports import SourceError
from schemas.explanation import Explanation

_log = logging.getLogger(__name__)


class StoredDirectory:
    """Reads snapshots of the stores, with this process's current share of the quotas, which ``share`` returns.

    Every failure becomes the engine's ``SourceError``.
    """

    def __init__(self, reader: DirectoryReader, share: Callable[[], Share]) -> None:
        self._reader = reader
        self._current_share = share
        self._share: Share | None = None
        """That of the last snapshot."""
        self._whole: Directory | None = None
        """The last snapshot, with the quotas of the whole replica."""
        self._divided: Directory | None = None
        """The same with this process's parts; ``None`` where they are to be made anew."""
        self._warned: tuple[Explanation, ...] = ()

    def read(self, known_version: int | None) -> Directory | None:
        """Return the snapshot, or ``None`` if it and the share are still the known ones; logs warnings about rows.

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
        share = self._current_share()
        if directory is not None:
            self._whole, self._divided = directory, None
        elif share == self._share:
            return None
        if self._whole is None:
            return None
        self._divided = share.of_directory(self._whole, self._share, self._divided)
        self._share = share
        return self._divided
