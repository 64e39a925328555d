"""From a record to a lane or an answer."""
