"""The published HTTP operation over the pipeline on Kafka: one request for each call, and its result as the response.

::

    http_protocol   uvicorn's protocol, with a limit on the time and size of a head
    app             routes, problem documents, one log line for each call
    bodies          media type, size and arrival of a body; strict_json and synchronization: its content
    calls           the journey of a call: API key, request id, hand-over, result or problem
    request_ids     ids of requests: new, or derived from API key and Idempotency-Key
    preferences     the Prefer header; problems: problem documents
    api_keys        the service's verdicts on keys, and the places of each key
    waiting_room    requests without a result, and the calls that wait for them
    service_clock   difference between the service's clock and ours, as results show it
    request_writer  writes requests: acknowledged, not written, or unknown
    results_reader  reads the whole results topic on a thread; known_results keeps the newest results
    broker_watch    whether the brokers respond and grant all rights, and the reader is up to date
    metrics, policy the list of metrics; all numbers with their reasons; call_log: the line of each call

Nothing is stored. A repeated ``Idempotency-Key`` leads to the same request id at every gateway. Whether that request
exists is known from memory: ``WaitingRoom`` has those under way, ``KnownResults`` the newest results, read back from
the results topic at the start. ``Calls`` remembers a digest of each body, to refuse another one under the same key.

Another route is a ``starlette.routing.Route`` in ``app.create_app(..., more_routes=...)``. It reads its body with
``bodies.read_json`` and responds with a problem by raising ``problems.ProblemError``. It writes with
``RequestWriter.publish``, and sees results with ``ResultsReader.subscribe``. ``producer_tools.bootstrap`` puts
everything together.
"""
