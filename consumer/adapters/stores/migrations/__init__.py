"""The released schemas of the stores, in order; a released one never changes."""
