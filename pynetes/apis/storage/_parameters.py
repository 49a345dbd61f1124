"""Parameters for drivers, which classes of volumes carry."""

from collections.abc import Iterator, Mapping

from pynetes.machinery import field

_COUNT_LIMIT, _SIZE_LIMIT = 512, 256 * 1024


def validate(parameters: Mapping[str, str] | None, *, allow_empty: bool) -> Iterator[field.Error]:
    """No more and no larger than a driver can take, and no empty keys."""
    given = parameters or {}
    if len(given) > _COUNT_LIMIT:
        yield field.too_long("parameters", _COUNT_LIMIT)
        return
    for key in given:
        if not key:
            yield field.invalid("parameters", key, "field can not be empty.")
    if sum(len(key) + len(value) for key, value in given.items()) > _SIZE_LIMIT:
        yield field.too_long("parameters", _SIZE_LIMIT)
    if not given and not allow_empty:
        yield field.required("parameters", "must contain at least one key/value pair")
