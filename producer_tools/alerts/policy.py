"""Numbers of alerts that become requests, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AlertsPolicy:
    """Bounds on rules, on notifications and on what is remembered of them."""

    read_back_seconds: float = 60.0
    """Longest time of reading. Alerts wait meanwhile; beyond, a few of them may be asked for again instead."""
    read_back_retry_seconds: float = 5.0
    """Before reading is tried again, where Kafka does not answer."""
    read_back_poll_seconds: float = 1.0
    """Period at which longer ``again_after`` times of changed rules are noticed."""
    read_seconds: float = 0.2
    """One wait for a record, and so how soon the thread sees that it is to stop."""
    chunk_alerts: int = 200
    """Alerts of one notification whose requests are written at the same time. While the brokers do not answer, no more
    are tried before the notification is refused."""
    fingerprints_logged: int = 10
    """In one line of the log; the answer has them all."""
    notifications: int = 100
    """Notifications that are taken in at the same time."""
    large_notification: int = 1_000
    """Alerts; of larger notifications only one is taken in at a time, since each occupies some 50 MB."""
    field_characters: int = 200
    """Of a field's path in a message: the names of labels are the sender's."""
    remembered_ids: int = 100_000
    """Ids, of about 150 bytes each; beyond, those that were not met for the longest time are forgotten."""
    rules_poll_seconds: float = 1.0
    """Between two looks at the files. A change counts once two looks in a row saw the same, so that a file is not read
    while it is being written."""
    yaml_depth: int = 16
    """Levels of nesting; the composer is recursive."""
    rules_bytes: int = 256 << 10
    """Size of a rules file: about 500 rules, which take 2 s to read."""
    key_bytes: int = 64 << 10
    """Size of a file with an API key; a larger one is another file than the one that was meant."""
    products_bytes: int = 8 << 20
    """Size of a product file: 10,000 pairs of the longest ids."""
    rule_name_characters: int = 100
    """Of a rule's name, which ``requestedBy`` contains."""
    least_again_seconds: float = 1.0
    """Lower bound of ``again_after``."""
    most_again_seconds: float = 365 * 86_400.0
    """Upper bound of ``again_after``: a year."""
    most_products: int = 1_000_000
    """Upper bound of ``max_products``: that of ``RESYNC_MAX_PRODUCTS_PER_REQUEST``, which applies as well."""
    most_requests_per_hour: int = 100_000
    """Upper bound of ``max_requests_per_hour``."""
    reason_characters: int = 500
    """Of a request's reason: an annotation can be a page long."""


ALERTS: Final = AlertsPolicy()
