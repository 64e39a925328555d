"""What is derived from a key is what the contract says."""

from schemas.signature import signing_secret


def test_the_secret_of_a_key_is_that_of_the_contract() -> None:
    """Computed with ``openssl dgst -sha256 -hmac mrk_example``."""
    assert "d12267e6850dacc38b9992f2c3bb783c80ccb82fee41a7407c530d1835327ecf" == signing_secret(b"mrk_example").hex()
