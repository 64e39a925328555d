"""Results that may have another chance, and the requests that repeat theirs.

::

    selection   which results; their requests, as far as a result tells
    history     what became of these requests since: retried, synchronized
    places      records that are read again where they stand
    plan        what happens to each of them; the requests to send

A retry goes to the partition of the request that it repeats. Its reason begins with ``retry of``, the id and the
place: ``retry of 0f6f… (3:1042): price was stale``. While the original is on the topic, all that came after it in its
partition is, too; so each request is retried at most once, unless the caller says ``again``. Two callers who send at
the same moment do not see each other: both retries are answered, which is safe.

Anybody who may write requests can write such a reason. So it counts only with the place, for the same products, and
unless the service refused its sender (401, 403, 404) or answered another tenant. A later success under the same id
counts for the request at the same place, or for the same tenant and products: two records with one id are two requests.

Whoever may write results can name any record. So only the configured requests topic is read, the record must have the
result's request id, and a partial result must name products of that request.
"""
