"""Why a text is no JSON, in the words of Go's decoder, which API clients are shown.

orjson and PyYAML decide whether a text can be read; this reads one that cannot, up to the first wrong character.
"""

from collections.abc import Callable

END = "unexpected end of JSON input"
_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_ESCAPED = b'bfnrt\\/"'
#: Below this many brackets Go gives up too.
_DEEPEST = 10000


class _Wrong(Exception):
    """Carries the text."""


def problem(text: bytes) -> str:
    """What is wrong with it; "" if nothing is."""
    try:
        position = _space(text, _value(text, 0))
        if position < len(text):
            raise _unexpected(text, position, "after top-level value")
    except _Wrong as wrong:
        return str(wrong)
    return ""


def _unexpected(text: bytes, position: int, context: str) -> _Wrong:
    if position >= len(text):
        return _Wrong(END)
    char = chr(text[position])
    shown = {"'": "\\'", "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char, char)
    if not shown.isprintable():
        shown = f"\\x{ord(char):02x}" if ord(char) < 0x80 else f"\\u{ord(char):04x}"
    return _Wrong(f"invalid character '{shown}' {context}")


def _space(text: bytes, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _value(text: bytes, position: int) -> int:
    """Read one value, brackets on a stack of their own; the position behind it."""
    stack: list[int] = []
    while True:
        position = _space(text, position)
        char = text[position : position + 1]
        if char in (b"{", b"["):
            closing = b"}" if char == b"{" else b"]"
            inner = _space(text, position + 1)
            if text[inner : inner + 1] != closing:
                stack.append(char[0])
                if len(stack) > _DEEPEST:
                    raise _Wrong("exceeded max depth")
                position = _key(text, inner) if char == b"{" else inner
                continue
            position = inner + 1
        else:
            position = _scalar(text, position)
        position, again = _closed(text, position, stack)
        if not again:
            return position


def _closed(text: bytes, position: int, stack: list[int]) -> tuple[int, bool]:
    """Behind a value: go on in what it stands in, or close that; whether another value follows."""
    while stack:
        position = _space(text, position)
        in_object = stack[-1] == ord("{")
        char = text[position : position + 1]
        if char == b",":
            return (_key(text, _space(text, position + 1)) if in_object else position + 1), True
        if char != (b"}" if in_object else b"]"):
            context = "after object key:value pair" if in_object else "after array element"
            raise _unexpected(text, position, context)
        stack.pop()
        position += 1
    return position, False


def _key(text: bytes, position: int) -> int:
    if text[position : position + 1] != b'"':
        raise _unexpected(text, position, "looking for beginning of object key string")
    position = _space(text, _string(text, position))
    if text[position : position + 1] != b":":
        raise _unexpected(text, position, "after object key")
    return position + 1


def _scalar(text: bytes, position: int) -> int:
    char = text[position : position + 1]
    if char == b'"':
        return _string(text, position)
    if char == b"-" or (char and char in _DIGITS):
        return _number(text, position)
    for literal in (b"true", b"false", b"null"):
        if char == literal[:1]:
            for offset in range(1, len(literal)):
                if text[position + offset : position + offset + 1] != literal[offset : offset + 1]:
                    context = f"in literal {literal.decode()} (expecting '{chr(literal[offset])}')"
                    raise _unexpected(text, position + offset, context)
            return position + len(literal)
    raise _unexpected(text, position, "looking for beginning of value")


def _string(text: bytes, position: int) -> int:
    position += 1
    while position < len(text):
        char = text[position]
        if char == ord('"'):
            return position + 1
        if char == ord("\\"):
            position = _escape(text, position + 1)
        elif char < 0x20:
            raise _unexpected(text, position, "in string literal")
        else:
            position += 1
    raise _Wrong(END)


def _escape(text: bytes, position: int) -> int:
    char = text[position : position + 1]
    if char == b"u":
        for offset in range(1, 5):
            found = text[position + offset : position + offset + 1]
            if not found or found not in _HEX:
                raise _unexpected(text, position + offset, "in \\u hexadecimal character escape")
        return position + 5
    if not char or char not in _ESCAPED:
        raise _unexpected(text, position, "in string escape code")
    return position + 1


def _number(text: bytes, position: int) -> int:
    if text[position : position + 1] == b"-":
        position += 1
    digits = _run(text, position)
    if digits == position:
        raise _unexpected(text, position, "in numeric literal")
    position = position + 1 if text[position] == ord("0") else digits
    if text[position : position + 1] == b".":
        position = _needed(text, position + 1, "after decimal point in numeric literal")
    if text[position : position + 1] in (b"e", b"E"):
        position += 2 if text[position + 1 : position + 2] in (b"+", b"-") else 1
        position = _needed(text, position, "in exponent of numeric literal")
    return position


def _needed(text: bytes, position: int, context: str) -> int:
    end = _run(text, position)
    if end == position:
        raise _unexpected(text, position, context)
    return end


def _run(text: bytes, position: int) -> int:
    while position < len(text) and text[position] in _DIGITS:
        position += 1
    return position


def kind_of(value: object) -> str:
    """What Go calls a JSON value."""
    for is_kind, name in _KINDS:
        if is_kind(value):
            return name
    return "object"


_KINDS: tuple[tuple[Callable[[object], bool], str], ...] = (
    (lambda value: value is None, "null"),
    (lambda value: isinstance(value, bool), "bool"),
    (lambda value: isinstance(value, int | float), "number"),
    (lambda value: isinstance(value, str), "string"),
    (lambda value: isinstance(value, list), "array"),
)
