"""Signed requests: what the holder of an API key and the service derive alike."""

import hmac

_SECRET_LABEL = b"mirakl-resync signing v1"


def signing_secret(api_key: bytes) -> bytes:
    """Return the secret (32 bytes) with which the holder of an API key signs requests.

    HMAC-SHA256 keyed with the UTF-8 bytes of the key. The service stores this secret, encrypted: it cannot be turned
    back into the key, so a stored secret that becomes known signs requests but opens nothing that takes the key.
    """
    return hmac.digest(api_key, _SECRET_LABEL, "sha256")
