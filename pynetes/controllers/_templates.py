"""Pod templates: whether two are the same, and the hash that names what was made from one.

What the API serves is defaulted, so a template read back equals the one it was copied from, whatever the user left out.
"""

from typing import Any

import orjson

from pynetes.machinery.meta import Object

POD_TEMPLATE_HASH = "pod-template-hash"
#: No vowels and no look-alikes: a hash spells no word and is read aloud without doubt.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def canonical(value: Any) -> Any:
    """The value without nulls, in which an explicit null equals an absent field."""
    if isinstance(value, dict):
        return {name: canonical(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [canonical(each) for each in value]
    return value


def same(one: Object, other: Object) -> bool:
    """Whether two pod templates differ in nothing but the hash label."""
    return _comparable(one) == _comparable(other)


def _comparable(template: Object) -> Object:
    metadata = template.get("metadata") or {}
    labels = {name: text for name, text in (metadata.get("labels") or {}).items() if name != POD_TEMPLATE_HASH}
    annotations = metadata.get("annotations") or {}
    return {"labels": labels, "annotations": annotations, "spec": canonical(template.get("spec"))}


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def encode(number: int) -> str:
    """A number in letters that are safe in names."""
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def hash_of(value: Any, collisions: int = 0) -> str:
    """A short name for the value; the same on every run. collisions moves it when the name is taken."""
    data = orjson.dumps(canonical(value), option=orjson.OPT_SORT_KEYS)
    if collisions:
        data += str(collisions).encode()
    return encode(fnv32a(data))
