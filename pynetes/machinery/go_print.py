"""JSON values as Go prints them: upstream's messages quote values so, and clients and tests compare messages."""

from typing import Any

import orjson


def plain(value: Any) -> str:
    """As %v: map[a:1 b:[x y]]."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{plain(item)}" for name, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(plain, value)) + "]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def syntax(value: Any) -> str:
    """As %#v: map[string]interface {}{"a":1}."""
    if isinstance(value, dict):
        members = [f"{syntax(name)}:{syntax(item)}" for name, item in sorted(value.items())]
        return f"map[string]interface {{}}{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(syntax, value))}}}"
    return "interface {}(nil)" if value is None else orjson.dumps(value).decode()


def json(value: Any, *, ordered: bool = False) -> str:
    """As json.Marshal writes it: names sorted, unless they are a struct's (ordered), and safe inside HTML."""
    text = orjson.dumps(value, option=None if ordered else orjson.OPT_SORT_KEYS).decode()
    for plain_, written in ((">", "\\u003e"), ("<", "\\u003c"), ("&", "\\u0026")):
        text = text.replace(plain_, written)
    return text


def number(value: float) -> str:
    """A float64 as %v: 1.5, 3, 1e+06."""
    digits, _, exponent = min(
        (f"{value:.{places}e}" for places in range(17, -1, -1) if float(f"{value:.{places}e}") == value), key=len
    ).partition("e")
    if -5 < int(exponent) < 6:
        return str(int(value)) if value.is_integer() else repr(value)
    return f"{digits}e{int(exponent):+03d}"
