"""Admission: from a fetched record to a lane or an answer."""
