"""What ConfigMap and Secret check alike: keys, size, and being immutable."""

import base64
from collections.abc import Iterator

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

SIZE_LIMIT = 1024 * 1024


def validate_data(new: Object, old: Object | None, *, binary: tuple[str, ...], text: tuple[str, ...]) -> Errors:
    """Mistakes of the data under these members; binary ones are base64 and counted decoded."""
    if old is not None and old.get("immutable"):
        if not new.get("immutable"):
            yield field.forbidden("immutable", "field is immutable when `immutable` is set")
        for member in (*text, *binary):
            if new.get(member) != old.get(member):
                yield field.forbidden(member, "field is immutable when `immutable` is set")
    total = 0
    for member in (*text, *binary):
        for key, value in (new.get(member) or {}).items():
            yield from validation.checked(key, f"{member}[{key}]", names.config_map_key)
            total += len(base64.b64decode(value)) if member in binary else len(value.encode())
            if member in text and any(key in (new.get(other) or {}) for other in binary):
                yield field.invalid(f"{member}[{key}]", key, "duplicate of key present in binaryData")
    if total > SIZE_LIMIT:
        yield field.too_long("[]" if text else "data", SIZE_LIMIT)
