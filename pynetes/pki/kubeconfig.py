"""Kubeconfigs with everything embedded, so that one file is an identity that can be copied."""

import base64
from typing import Any

import yaml
from cryptography import x509

from pynetes.pki import issue


def build(*, cluster: str, server: str, ca: bytes, user: str, identity: issue.Issued) -> bytes:
    """The file's content."""
    context = f"{user}@{cluster}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _encode(ca)}}],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _encode(identity.certificate_pem),
                    "client-key-data": _encode(identity.key_pem),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "preferences": {},
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def read(content: bytes) -> tuple[issue.Issued, str, bytes]:
    """The embedded identity, the server and the CA. Raises ValueError when the file is not of this form."""
    try:
        document: Any = yaml.safe_load(content)
        user = document["users"][0]["user"]
        cluster = document["clusters"][0]["cluster"]
        pem = base64.b64decode(user["client-certificate-data"])
        identity = issue.load(pem, base64.b64decode(user["client-key-data"]))
        return identity, cluster["server"], base64.b64decode(cluster["certificate-authority-data"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"not a kubeconfig with an embedded certificate: {error!r}") from error


def replaced(content: bytes, identity: issue.Issued) -> bytes:
    """The same file with another identity. Raises ValueError when it is not of this form."""
    read(content)
    document: Any = yaml.safe_load(content)
    user = document["users"][0]["user"]
    user["client-certificate-data"] = _encode(identity.certificate_pem)
    user["client-key-data"] = _encode(identity.key_pem)
    return yaml.safe_dump(document, sort_keys=False).encode()


def trusting(content: bytes, ca: bytes) -> bytes:
    """The same file with other authorities. Raises ValueError when it is no kubeconfig with embedded ones."""
    document: Any = yaml.safe_load(content)
    try:
        for entry in document["clusters"]:
            entry["cluster"]["certificate-authority-data"] = _encode(ca)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a kubeconfig: {error!r}") from error
    return yaml.safe_dump(document, sort_keys=False).encode()


def with_token(*, cluster: str, server: str, ca: bytes, user: str, token: str) -> bytes:
    """A file for somebody who has a token and no certificate yet."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _encode(ca)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": f"{user}@{cluster}", "context": {"cluster": cluster, "user": user}}],
        "current-context": f"{user}@{cluster}",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def certificate(content: bytes) -> x509.Certificate:
    """The embedded client certificate."""
    return read(content)[0].certificate


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
