"""The whole system at work on embedded parts: broker, SQLite, a simulated Mirakl, and the service as its own process.

``cases`` says what is asked for and which answer is the right one. ``stage`` builds the system out of ``service``,
``mirakl`` and the embedded broker; ``performance`` asks, collects and judges; ``over_http`` asks a gateway; ``screen``
shows it. All requests are
sent at once, each case that calls Mirakl through a client specification of its own: so nobody's trouble may delay
anybody else, and that is judged, too.
"""

PACKAGE_PREFIX = __name__.removesuffix("producer_tools.sandbox.demo")
"""Before the name of a package, for ``python -m``: installed, both packages are inside ``mirakl_resync``."""
