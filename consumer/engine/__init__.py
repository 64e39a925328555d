"""The sans-IO core and the loop that drives it."""
