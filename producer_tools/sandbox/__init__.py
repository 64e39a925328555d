"""Embedded parts for trying things out and for tests: nothing here is for production."""
