"""Hostile input by the million: ``python -m tests.fuzz --cases 1000000``. A seed decides each case."""
