"""Mirakl's API: the CM21 call, its connections, its responses."""
