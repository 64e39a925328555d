"""Share of each client specification's quotas for one of several processes of a replica."""

from dataclasses import dataclass, replace

from consumer.domain.model import ClientSpecification, Directory


@dataclass(frozen=True, slots=True)
class Share:
    """The place of one process among those of its replica: number ``process`` (from 0) of ``processes``."""

    process: int = 0
    processes: int = 1

    def of_directory(self, directory: Directory) -> Directory:
        """Return the snapshot with this process's part of concurrent calls and calls per hour."""
        if self.processes == 1:
            return directory
        specifications = {id_: self._of(each) for id_, each in directory.specifications.items()}
        return replace(directory, specifications=specifications)

    def _of(self, specification: ClientSpecification) -> ClientSpecification:
        per_hour = specification.calls_per_hour
        return replace(
            specification,
            concurrent_calls=self.of_number(specification.concurrent_calls),
            calls_per_hour=None if per_hour is None else self.of_number(per_hour),
        )

    def of_number(self, whole: int) -> int:
        """Return this process's part: all parts add up to the whole, except that each is at least 1."""
        part, rest = divmod(whole, self.processes)
        return max(1, part + (self.process < rest))
