"""The published HTTP operation over the pipeline on Kafka: one request for each call, and its result as the response.

::

    http_protocol   uvicorn's protocol, with a limit on the time and size of a head
    app             routes, problem documents, one log line for each call
    bodies          media type, size and arrival of a body; strict_json and synchronization: what it says
    calls           the journey of a call: who asks, which request it is, what comes of it
    request_ids     ids of requests: new, or derived from API key and Idempotency-Key
    preferences     the Prefer header; problems: problem documents
    api_keys        which keys the service has called invalid, and how many places each key has
    waiting_room    the requests that are waited for, and who waits
    service_clock   how far the service's clock differs from ours, as results tell
    request_writer  writes requests: acknowledged, not written, or unknown
    results_reader  reads the whole results topic on a thread; known_results keeps what may still be asked for
    broker_watch    whether the brokers respond and the reader is up to date
    metrics, policy the list of metrics; all numbers with their reasons; call_log: the line of each call

Nothing is stored. A repeated ``Idempotency-Key`` leads to the same request id at every gateway. Whether that request
exists is known from memory: ``WaitingRoom`` has those under way, ``KnownResults`` the newest results, read back from
the results topic at the start. ``Calls`` remembers a digest of each body, to refuse another one under the same key.

Another route is a ``starlette.routing.Route`` in ``app.create_app(..., more_routes=...)``. It reads its body with
``bodies.read_json`` and responds with a problem by raising ``problems.ProblemError``. It writes with
``RequestWriter.publish``, and sees results with ``ResultsReader.subscribe``. ``producer_tools.bootstrap`` puts all
together.
"""
