"""What a person pastes to log in: a bearer token, or a kubeconfig with a token or a client certificate inside.

Only the identity is taken. The server, its CA, and everything that names a file or a program are ignored or refused:
the text comes from a stranger, and the files would be this process's.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

#: A kubeconfig with one certificate has some 6 KB; an attacker's YAML is refused before it is parsed.
LARGEST = 256 << 10
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,16384}")


class CredentialError(ValueError):
    """What was pasted identifies nobody; the text says what is wrong and what to paste instead."""


@dataclass(frozen=True)
class Identification:
    """What proves who somebody is: a token, or a certificate and its key (PEM). repr never shows it."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""

    def __repr__(self) -> str:
        return f"Identification({'token' if self.token else 'certificate'})"


def read(text: str) -> Identification:
    """The identity in what was pasted. Raises CredentialError."""
    text = text.strip()
    if not text:
        raise CredentialError("nothing was pasted; paste a token or a kubeconfig")
    if len(text) > LARGEST:
        raise CredentialError("that is too long for a token or a kubeconfig")
    if "\n" not in text and not text.startswith("{"):
        return _token(text.removeprefix("Bearer "))
    return _kubeconfig(text)


def _token(text: str) -> Identification:
    if not _TOKEN.fullmatch(text):
        raise CredentialError("that is no token: it has characters that tokens never have")
    return Identification(token=text)


def _kubeconfig(text: str) -> Identification:
    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CredentialError("that is no kubeconfig: it cannot be read as YAML") from error
    if not isinstance(document, dict) or not isinstance(document.get("users"), list):
        raise CredentialError("that is neither a token nor a kubeconfig: it has no users")
    name = _user_of(document)
    user = _entry(document["users"], "user", name)
    if user is None:
        raise CredentialError(f"the kubeconfig has no user {name!r}")
    return _identity(user)


def _user_of(document: dict[str, Any]) -> str:
    """The user of the current context; of the only context or the only user where none is current."""
    contexts = document.get("contexts") or []
    current = document.get("current-context") or (contexts[0].get("name") if len(contexts) == 1 else "")
    context = _entry(contexts, "context", current)
    if context and context.get("user"):
        return str(context["user"])
    if len(document["users"]) == 1:
        return str(document["users"][0].get("name"))
    raise CredentialError("the kubeconfig has no current-context, so it is not clear which user you are")


def _entry(entries: Iterable[Any], kind: str, name: str) -> dict[str, Any] | None:
    for entry in entries:
        if isinstance(entry, dict) and str(entry.get("name")) == name and isinstance(entry.get(kind), dict):
            found: dict[str, Any] = entry[kind]
            return found
    return None


def _identity(user: dict[str, Any]) -> Identification:
    if token := user.get("token"):
        return _token(str(token).strip())
    if user.get("client-certificate-data") and user.get("client-key-data"):
        return Identification(certificate=_pem(user, "client-certificate-data"), key=_pem(user, "client-key-data"))
    if user.get("exec") or user.get("auth-provider"):
        raise CredentialError(
            "the kubeconfig runs a program to log in, which cannot happen here; paste the token that it prints"
        )
    named = next((name for name in ("tokenFile", "client-certificate", "client-key") if user.get(name)), "")
    if named:
        raise CredentialError(
            f"the kubeconfig names a file ({named}) that stays on your machine; paste the output of"
            " `kubectl config view --raw --flatten`"
        )
    raise CredentialError("the user in the kubeconfig has neither a token nor a client certificate")


def _pem(user: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(str(user[name]), validate=True)
    except binascii.Error as error:
        raise CredentialError(f"{name} in the kubeconfig is no base64") from error
