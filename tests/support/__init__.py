"""Real parts for tests, the bench and chaos: brokers, databases, a registry, the service as a process.

Each part is had in the first of these ways that works here: one that is given by the environment, a container
where a Docker engine answers, a process of this machine's own programs. Where none works, :class:`PartMissing`
names the part and what would make it available.
"""
