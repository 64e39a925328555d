"""Speed and size of the service, beside the bare loop that bounds it and its peers: ``python -m tests.bench``."""
