"""A connection to the stores that is not ours: changes "by hand"."""

import sqlite3
from collections.abc import Callable
from typing import TypeAlias

import psycopg

Hand: TypeAlias = Callable[..., list[tuple[object, ...]]]
"""Executes statements in one transaction, and returns the rows of the last one."""


def hand_connection(database_url: str) -> sqlite3.Connection | psycopg.Connection:
    if database_url.startswith("sqlite"):
        return sqlite3.connect(database_url.removeprefix("sqlite:///"))
    return psycopg.connect(database_url.replace("+psycopg", ""))
