"""What a person pastes to log in."""

import base64

import pytest

from pynetes.dashboard import credentials
from pynetes.dashboard.credentials import CredentialError, Identification

PEM = base64.b64encode(b"-----BEGIN").decode()


def kubeconfig(user: str, current: str = "current-context: c") -> str:
    """A kubeconfig with one user."""
    return f"""
apiVersion: v1
kind: Config
{current}
contexts: [{{name: c, context: {{cluster: k, user: me}}}}]
users: [{{name: me, user: {user}}}, {{name: other, user: {{token: someone-elses}}}}]
"""


def test_a_token_is_taken_as_it_is() -> None:
    """Also with the word that stands before it in a header, and with blanks around it."""
    assert credentials.read("  Bearer abc.def-ghi \n") == Identification(token="abc.def-ghi")


def test_a_kubeconfig_gives_the_identity_of_its_current_context() -> None:
    """A token or a client certificate; the other users' stay where they are."""
    assert credentials.read(kubeconfig("{token: my-token}")).token == "my-token"
    found = credentials.read(kubeconfig(f"{{client-certificate-data: {PEM}, client-key-data: {PEM}}}"))
    assert (found.certificate, found.key, found.token) == (b"-----BEGIN", b"-----BEGIN", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing was pasted"),
        ("two words", "no token"),
        ("a\r\nHost: evil", "YAML"),
        ("x" * (300 << 10), "too long"),
        ("a: [", "no token"),
        ("a: [\n", "no token"),
        ("- 1\n- 2", "no users"),
        ("a: &a [1]\nb: [", "YAML"),
        (kubeconfig("{tokenFile: /var/run/secrets/token}"), "tokenFile"),
        (kubeconfig("{client-certificate: /etc/shadow, client-key: /etc/shadow}"), "flatten"),
        (kubeconfig("{exec: {command: reboot}}"), "runs a program"),
        (kubeconfig("{client-certificate-data: '*', client-key-data: '*'}"), "base64"),
        (kubeconfig("{}"), "neither"),
        (kubeconfig("{token: x}", "current-context: gone"), "not clear"),
    ],
)
def test_what_identifies_nobody_is_refused(text: str, reason: str) -> None:
    """In words that say what to paste; files and programs of this machine are never touched."""
    with pytest.raises(CredentialError, match=reason):
        credentials.read(text)


def test_an_identity_does_not_show_in_a_log() -> None:
    """repr is what ends up in tracebacks."""
    assert "secret" not in repr(Identification(token="secret"))
