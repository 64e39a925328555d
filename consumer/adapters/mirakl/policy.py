"""Numbers of the calls to Mirakl, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class MiraklPolicy:
    """Bounds on time and memory that one call, one connection and one answer may take."""

    pool_seconds: float = 10.0
    """Wait for a free connection; the engine's own limits keep calls from waiting here."""
    connect_seconds: float = 10.0
    """DNS and TCP, and as long again for TLS: a lost SYN is sent again after 1 s, then after 3 s, then after 7 s."""
    write_seconds: float = 30.0
    """The body of the request, which has a few hundred kilobytes at most."""
    idle_seconds: float = 4.0
    """Common servers close idle connections after 5 s at the earliest (Node.js). Closing earlier avoids writing into a
    connection that is just being closed, which looks the same as a call that was accepted."""
    connection_age_seconds: float = 300.0
    """A connection that is older is not used again: the next one follows the host's current address."""
    read_bytes: int = 64 * 1024
    """One read of an answer."""
    free_reads: int = 128
    """Reads of one answer without a pause. Honest answers take a few, and a page of 64 KiB about 50."""
    read_pause_seconds: float = 0.05
    """Before each further read, so that what comes in single bytes is read in larger pieces, 20 times a second."""
    proxy_read_bytes: int = 4096
    """One read of a proxy's answer, which has a head only."""
    lookups: int = 64
    """Name look-ups in progress. A host has at most one, which its resolver ends after about 30 s."""
    addresses: int = 8
    """Addresses of a host that are tried: more would not fit into the time for a connection."""
    next_address_seconds: float = 0.25
    """Until the next address is tried beside the ones before (RFC 8305, section 5)."""
    concurrent_looks: int = 8
    """Miraklis that ``doctor`` and ``clients check`` ask at once: enough that a few silent ones hold up no other, and
    few enough for a proxy."""
    body_bytes: int = 64 * 1024
    """Longest body that is read, as received and again as decompressed. A tracking id needs a hundred bytes."""
    excerpt_characters: int = 300
    """Longest excerpt of a body in results and in the log."""
    excerpt_source_characters: int = 4096
    """Beginning of a page that is searched for an excerpt."""
    tracking_id_characters: int = 1000
    """Mirakl's are opaque; those seen are UUIDs. A longer one would swell every result of its call."""
    longest_retry_after: float = 86_400.0
    """Seconds. Mirakl counts calls by the hour, so a day is already beyond reason; then one call asks again."""
    unreadable_share: int = 8
    """One character in so many may be unreadable: pages in Latin-1 have fewer."""
    encodings: int = 2
    """Times that a body is compressed: by the server, and once more by a proxy."""
    secret_piece: int = 8
    """Characters in a row that count as a part of the secret. Fewer occur by chance, and leave most of it unknown."""
    secret_beginning: int = 3
    """Characters of a secret's beginning that count at the end of a text, where it may have been cut off."""
    encoding_layers: int = 3
    """Encodings around each other that are undone, such as percent-encoding within a JSON escape."""


MIRAKL: Final = MiraklPolicy()
