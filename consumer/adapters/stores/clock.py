"""The database's clock."""

import time

from sqlalchemy import Engine, text

from consumer.adapters.clocks import ClockReading, reading
from consumer.adapters.stores.database import troubles


def database_clock(engine: Engine) -> ClockReading | None:
    """Return the clock of PostgreSQL; ``None``: a SQLite file has none. Raises ``StoreError``."""
    if engine.dialect.name != "postgresql":
        return None
    with troubles(engine), engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # so that the next one takes no longer than its way
        before = time.time()
        theirs = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        return reading("the database", float(theirs), before, time.time())
