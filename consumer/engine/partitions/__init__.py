"""Partitions: from fetched records to backlogs, and from outcomes to transactions."""
