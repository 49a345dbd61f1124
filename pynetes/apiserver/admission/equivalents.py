"""matchPolicy Equivalent: a webhook or policy that names a resource in one version or group is for requests in all of
them, and sees each as if it had come in the one that it names.

The same resource in another version is equivalent, and so is another resource with the same storage: events of both
groups. What the request itself was stays in requestKind and requestResource.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.admission.matching import rule_matches
from pynetes.apiserver.conversion import convert
from pynetes.apiserver.encoding import copied
from pynetes.apiserver.objects import Context
from pynetes.machinery import schema
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


class Place(NamedTuple):
    """A resource in one of its versions."""

    resource: Resource
    version: str

    @property
    def api_version(self) -> str:
        """As its objects bear it."""
        return f"{self.resource.group}/{self.version}" if self.resource.group else self.version


def place_of(attributes: Attributes) -> Place:
    """Where the request is at."""
    return Place(attributes.resource, attributes.version or attributes.resource.version)


def matched(ctx: Context, attributes: Attributes, about: Mapping[str, Any], rules: str) -> Place | None:
    """Where the request is as the rules see it that a hook, policy or binding has under this name; None if it is
    nowhere."""
    given: Sequence[Mapping[str, Any]] = about.get(rules) or ()
    if not given:
        return None
    here = place_of(attributes)
    if any(rule_matches(rule, attributes, *here) for rule in given):
        return here
    if (about.get("matchPolicy") or "Equivalent") != "Equivalent":
        return None
    for place in _equivalents(ctx, here):
        if any(rule_matches(rule, attributes, *place) for rule in given):
            return place
    return None


def _equivalents(ctx: Context, here: Place) -> Iterator[Place]:
    for resource in (here.resource, *ctx.alike(here.resource)):
        for version in resource.versions:
            if (place := Place(resource, version)) != here:
                yield place


async def seen(ctx: Context, attributes: Attributes, place: Place) -> Attributes:
    """The request as it would be there. Raises StatusError where a conversion webhook fails."""
    here = place_of(attributes)
    if place == here:
        return attributes
    obj = await _converted(ctx, attributes.obj, here, place)
    old = await _converted(ctx, attributes.old, here, place)
    return replace(attributes, resource=place.resource, version=place.version, obj=obj, old=old, requested=attributes)


async def take_over(ctx: Context, attributes: Attributes, view: Attributes, changed: Object) -> None:
    """What was made of the object that the view has becomes the request's own. Raises StatusError as `seen`."""
    assert attributes.obj is not None and view.obj is not None
    if view is not attributes:
        view.obj.clear()
        view.obj.update(changed)
        changed = await _converted(ctx, changed, place_of(view), place_of(attributes)) or {}
    attributes.obj.clear()
    attributes.obj.update(changed)


async def _converted(ctx: Context, obj: Object | None, source: Place, target: Place) -> Object | None:
    """A copy in the target's version; what is no object of the resource (a Scale, a Binding) has only one."""
    if obj is None or obj.get("kind", source.resource.kind) != source.resource.kind:
        return obj
    copy = copied(obj)
    if source.resource.conversion is not None and ctx.prepare is not None:
        await ctx.prepare(source.resource, [copy], target.api_version)
    by = source.resource if source.resource.convert is not None else target.resource
    made = convert(by, copy, target.api_version)
    schema.of(target.resource, target.version).decode(made)
    return made
