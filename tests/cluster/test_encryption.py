"""Keys of the store are replaced without a moment in which something cannot be read."""

import base64
from typing import Any

import pytest

from pynetes.cluster import encryption, hardening
from pynetes.machinery.meta import Object


def keys(document: Object) -> list[str]:
    return [key["name"] for key in document["resources"][0]["providers"][0]["aesgcm"]["keys"]]


def test_the_new_key_is_read_before_it_is_written_with() -> None:
    """Several API servers take a file up at different moments: whatever one of them writes, all can read."""
    document = hardening.encryption(b"1" * 32)
    steps = encryption.with_new_key(document, "new", b"2" * 32)
    assert [keys(step) for step in steps] == [["key1", "new"], ["new", "key1"], ["new"]]
    assert keys(document) == ["key1"]
    secret = steps[2]["resources"][0]["providers"][0]["aesgcm"]["keys"][0]["secret"]
    assert base64.b64decode(secret) == b"2" * 32


@pytest.mark.parametrize("providers", [[{"identity": {}}], [{"kms": {"name": "x"}}]])
def test_there_must_be_a_key(providers: list[Any]) -> None:
    """Plain text has none, and a service has its own."""
    with pytest.raises(ValueError, match="no resource"):
        encryption.with_new_key({"resources": [{"resources": ["secrets"], "providers": providers}]}, "new", b"2" * 32)
