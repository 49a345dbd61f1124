"""The shape of token authenticators, and the tokens of a file."""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from pynetes.apiserver.authn.user import User, known


class InvalidToken(Exception):
    """The token is of the kind asked about, and no good; the text says why and never holds the token."""


class TokenUser(NamedTuple):
    """Whose token it is, and for which of the audiences asked for it was issued (empty: it knows none)."""

    user: User
    audiences: tuple[str, ...] = ()
    issuer: str = ""


class TokenAuthenticator(Protocol):
    """Knows one kind of token."""

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """None when the token is of another kind. Raises InvalidToken."""


class StaticTokens:
    """--token-auth-file: lines of token,user,uid,"group1,group2"."""

    def __init__(self, path: str) -> None:
        """Raises ValueError naming the line that is wrong."""
        self._users = {_digest(token): TokenUser(user, issuer="token file") for token, user in _read(Path(path))}

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """Looks for the digest, so that no prefix of a token can be guessed by the clock."""
        return self._users.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _read(path: Path) -> Iterator[tuple[str, User]]:
    with path.open(newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or row[0].startswith("#"):
                continue
            if len(row) < 3 or not row[0]:
                raise ValueError(f"{path}:{number}: expected token,user,uid[,groups]")
            groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
            yield row[0], known(User(row[1].strip(), uid=row[2].strip(), groups=groups))
