"""CEL over a token's claims: who the user is, which tokens count, and which users.

    username: "claims.username + ':external-user'"
    rule:     "claims.hd == 'example.com'"             of a token: `claims`
    rule:     "!user.username.startsWith('system:')"   of a user: `user`

Expressions are compiled, and their results' types checked, when the configuration is read; one that fails for a token
refuses that token.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.machinery import cel
from pynetes.machinery.meta import Object

CLAIMS, USER = ("claims",), ("user",)


class Rule(NamedTuple):
    """Must be true; `message` says what is wrong when it is not."""

    expression: str
    message: str = ""


def check(at: str, expression: Any, variables: Sequence[str], *kinds: str) -> str:
    """The expression, known to compile and to give one of these types. Raises ValueError."""
    if not isinstance(expression, str) or not expression:
        raise ValueError(f"{at}: required")
    try:
        kind = cel.program(expression, variables).kind
    except cel.CompileError as error:
        raise ValueError(f"{at}: compilation failed: {error}") from None
    if kind not in kinds:
        raise ValueError(f"{at}: must evaluate to {' or '.join(kinds).lower()}")
    return expression


def hold(rules: Sequence[Rule], values: Mapping[str, Any]) -> None:
    """Raises InvalidToken with the message of the first rule that does not hold, or fails."""
    for rule in rules:
        if _value(rule.expression, values) is not True:
            raise InvalidToken(rule.message or f"validation expression '{rule.expression}' failed")


def text(expression: str, claims: Mapping[str, Any]) -> str:
    """The expression's text. Raises InvalidToken."""
    found = _value(expression, {"claims": claims})
    if not isinstance(found, str):
        raise InvalidToken(f"expression '{expression}' gave no string")
    return found


def texts(expression: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """A string or a list of strings; nothing, "" and [] are none. Raises InvalidToken."""
    found = _value(expression, {"claims": claims})
    listed = [] if found in (None, "") else [found] if isinstance(found, str) else found
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        raise InvalidToken(f"expression '{expression}' gave neither a string nor a list of strings")
    return tuple(listed)


def user_of(name: str, uid: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]) -> Object:
    """What user rules see: every field is there, as in UserInfo."""
    named = {key: list(values) for key, values in extra.items()}
    return {"username": name, "uid": uid, "groups": list(groups), "extra": named}


def _value(expression: str, values: Mapping[str, Any]) -> Any:
    variables = CLAIMS if "claims" in values else USER
    try:
        return cel.program(expression, variables).eval(values)
    except cel.EvalError as error:
        raise InvalidToken(f"expression '{expression}' resulted in error: {error}") from None
