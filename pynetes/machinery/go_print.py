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
