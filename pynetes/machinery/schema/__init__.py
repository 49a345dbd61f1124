"""Schemas: what a kind's objects look like, compiled once and read by several interpreters.

    schema.of(resource, version)   the Schema of a kind, built-in or custom
    .decode(obj)                   normalise in place; returns the paths of unknown fields, which are gone afterwards
    .default(obj)                  fill in defaults: the schema's for custom resources, the record's hook for all
    .validate(obj)                 what the schema itself forbids
    .type                          the Type tree, which patches and apply walk

`decode` is the whole price of an ordinary write here, so it is compiled to closures (40 µs for a Deployment).
"""

from collections.abc import Iterator
from functools import cache

from pynetes.machinery import errors, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import custom, decode, definitions, types
from pynetes.machinery.schema.custom import CustomSchema
from pynetes.machinery.schema.inspect import WrongType, inspect
from pynetes.machinery.schema.types import Type


class Schema:
    """The schema of one kind in one version."""

    __slots__ = ("_decoder", "resource", "type", "version")

    def __init__(self, resource: Resource, version: str, type_: Type) -> None:
        self.resource = resource
        self.version = version
        self.type = type_
        self._decoder = decode.decoder_of(type_)

    def decode(self, obj: Object) -> list[str]:
        """Normalise in place and return the paths of unknown fields, now gone. StatusError 400 for a wrong type."""
        try:
            self._decoder(obj)
            return []
        except decode.Surprise:
            return self._recover(obj)

    def _recover(self, obj: Object) -> list[str]:
        kind = self.resource.kind
        try:
            unknown = inspect(self.type, obj)
            self._decoder(obj)
        except WrongType as error:
            text = f'{kind} in version "{self.version}" cannot be handled as a {kind}: {error}'
            raise errors.bad_request(text) from None
        except decode.Surprise:
            text = f'{kind} in version "{self.version}" cannot be handled as a {kind}: unexpected value'
            raise errors.bad_request(text) from None
        return unknown

    def prune(self, obj: Object) -> list[str]:
        """The same as decode: a built-in kind drops unknown fields in decoding."""
        return self.decode(obj)

    def default(self, obj: Object) -> None:
        """Fill in defaults in place; idempotent."""
        if self.resource.default:
            self.resource.default(obj)

    def validate(self, obj: Object) -> Iterator[field.Error]:
        """What the schema forbids beyond the types that decode checks: nothing, for a built-in kind."""
        yield from ()


@cache
def _of(resource: Resource, version: str) -> Schema:
    name = definitions.kinds().get((resource.group, version, resource.kind))
    if name is None:
        raise LookupError(f"there is no schema of {resource.kind} in {resource.group}/{version}")
    return Schema(resource, version, types.named(name))


def of(resource: Resource, version: str = "") -> "Schema | CustomSchema":
    """The schema of a kind; version "" means the preferred one. LookupError if the kind has none."""
    version = version or resource.version
    if resource.schema is not None:
        return custom.of(resource, version)
    return _of(resource, version)


def of_kind(group: str, version: str, kind: str) -> Type | None:
    """The Type of any kind the schemas know, even one that is no resource (Scale, DeleteOptions, Eviction)."""
    name = definitions.kinds().get((group, version, kind))
    return types.named(name) if name else None
