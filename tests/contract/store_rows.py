"""Rows of the stores, as operators write them by hand."""

from consumer.adapters.stores import (
    DirectoryReader,
    Encryption,
    new_key,
)
from consumer.domain.model import Directory

KEY = new_key()

ENCRYPTION = Encryption([KEY])

SECRET = "front-key-of-mirakl"  # noqa: S105 - what the tests look for

URL = "https://shop.mirakl.example"
SPECIFICATION_BY_HAND = (
    "INSERT INTO client_specifications (id, name, base_url, credential) "
    "VALUES ('11111111-1111-4111-8111-111111111111', 'by hand', 'https://shop.mirakl.example', 'garbage')"
)
ANOTHER_SPECIFICATION_BY_HAND = SPECIFICATION_BY_HAND.replace("1111", "3333").replace("by hand", "another")
API_KEY_BY_HAND = (
    "INSERT INTO api_keys (id, name, key_hash) VALUES ('22222222-2222-4222-8222-222222222222', 'by hand', "
    "'8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4')"
)
ANOTHER_API_KEY_BY_HAND = API_KEY_BY_HAND.replace("2222", "4444").replace("by hand", "another").replace("8f43", "0000")


def snapshot(reader: DirectoryReader) -> Directory:
    directory = reader.read(None)
    assert directory is not None
    return directory
