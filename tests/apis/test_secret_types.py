"""What a Secret's type demands of its data."""

import base64

import pytest

from pynetes.apis.core import secrets
from pynetes.machinery.meta import Object


def problems(kind: str, **data: bytes) -> list[str]:
    made: Object = {
        "metadata": {"name": "s", "namespace": "n"},
        "type": f"kubernetes.io/{kind}",
        "data": {name.replace("__", "."): base64.b64encode(text).decode() for name, text in data.items()},
    }
    return [error.message for error in secrets.validate(made, None)]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"auths": ', "unexpected end of JSON input"),
        (b"{auths}", "invalid character 'a' looking for beginning of object key string"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b"1.5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (b'"a"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (b"true", "json: cannot unmarshal bool into Go value of type map[string]interface {}"),
    ],
)
def test_registry_credentials_are_an_object(text: bytes, detail: str) -> None:
    """Both forms are read by the JSON decoder, whose words are quoted."""
    message = f'Invalid value: "<secret contents redacted>": {detail}'
    assert problems("dockerconfigjson", __dockerconfigjson=text) == [message]
    assert problems("dockercfg", __dockercfg=text) == [message]


def test_what_is_accepted() -> None:
    """Objects, and null."""
    assert problems("dockercfg", __dockercfg=b" {} ") == problems("dockercfg", __dockercfg=b"null") == []


def test_an_empty_private_key_is_none() -> None:
    """An SSH key must be there; an empty certificate may."""
    assert len(problems("ssh-auth", **{"ssh-privatekey": b""})) == 1
    assert problems("tls", tls__crt=b"", tls__key=b"") == []
