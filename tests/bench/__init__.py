"""Speed and size of the service on a real broker, beside the bare loop that bounds it: ``python -m tests.bench``."""
