"""MutatingAdmissionPolicy: changes that CEL expressions make, as apply configurations or JSON patches."""

import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson

from pynetes.apis.admissionregistration import mutatingadmissionpolicies as policies
from pynetes.apis.admissionregistration import mutatingadmissionpolicybindings as bindings
from pynetes.apiserver.admission.attributes import CONNECT, DELETE, Again, Attributes, Policy
from pynetes.apiserver.admission.equivalents import take_over
from pynetes.apiserver.admission.expressions import Failed, Scene
from pynetes.apiserver.admission.policies import Application, applications
from pynetes.apiserver.objects import Context
from pynetes.machinery import apply, errors, field, fieldset, patch, schema
from pynetes.machinery.cel.constructors import as_maps, misnamed
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import ANY, Type


class MutatingAdmissionPolicy(Policy):
    """Each policy sees what the ones before have made of the object."""

    name = "MutatingAdmissionPolicy"
    rules = bindings.RESOURCE

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Change the object. Raises StatusError where a policy fails that must not."""
        if attributes.obj is None or attributes.operation in (DELETE, CONNECT):
            return
        refused: list[tuple[str, str]] = []
        again = attributes.again = attributes.again or Again()
        memory, touched = again.begin(self.name, orjson.dumps(attributes.obj)), False
        async for application in applications(ctx, attributes, policies.RESOURCE, bindings.RESOURCE):
            spec, rule = application.policy["spec"], _rule(application)
            if again.skips(memory, rule):
                continue
            before = orjson.dumps(attributes.obj)
            strict = spec.get("failurePolicy") != "Ignore"
            reason = "Forbidden" if application.misconfigured else "Invalid"
            failed = 0
            async for problem in _applied(ctx, attributes, application):
                failed += 1
                if strict:
                    refused.append((_message(application, problem), reason))
            changed = orjson.dumps(attributes.obj) != before
            again.ran(memory, rule, changed=changed, policy=spec.get("reinvocationPolicy"))
            touched = touched or failed < len(spec.get("mutations") or ())
        if touched:
            # What was patched counts as changed for all of them, even where the patch made no difference.
            again.ran(memory, "", changed=True, policy=None)
        memory.left = orjson.dumps(attributes.obj)
        if refused:
            error = attributes.forbidden("admission request denied by policy")
            error.status["message"], error.status["reason"] = refused[0]
            error.status["details"]["causes"] = [{"message": message} for message, _ in refused]
            raise error


async def _applied(ctx: Context, attributes: Attributes, application: Application) -> AsyncIterator[str]:
    """Each mutation that fails; those behind it are tried too."""
    if application.error:
        yield application.error
        return
    spec = application.policy["spec"]
    for mutation in spec.get("mutations") or ():
        view = application.view
        try:
            await take_over(ctx, attributes, view, _mutated(application, mutation))
        except Failed as error:
            yield str(error)
            continue
        scene = Scene(ctx, view, application.params, spec.get("variables") or ())
        application = application._replace(scene=scene)


def _rule(application: Application) -> str:
    """What tells one application of a policy from another."""
    binding = application.binding["metadata"]["name"] if application.binding else ""
    params = (application.params or {}).get("metadata") or {}
    return f"{application.name} {binding} {params.get('namespace', '')}/{params.get('name', '')}"


def _message(application: Application, problem: str) -> str:
    if application.unbound:
        return f"policy {field.quote(application.name)} denied request: {problem}"
    binding = application.binding["metadata"]["name"]
    return f"policy '{application.name}' with binding '{binding}' denied request: {problem}"


def _mutated(application: Application, mutation: Object) -> Object:
    view = application.view
    assert view.obj is not None
    if mutation["patchType"] == "JSONPatch":
        written = mutation["jsonPatch"]["expression"]
        steps = application.scene.evaluate(as_maps(written), written)
        try:
            return patch.json_patch(view.obj, steps)
        except (ValueError, KeyError, TypeError) as error:
            if _tests_fail(view.obj, steps):
                # A patch whose test fails is left alone.
                return copy.deepcopy(view.obj)
            raise Failed(f"JSON Patch: {error}") from error
    written = mutation["applyConfiguration"]["expression"]
    wanted = application.scene.evaluate(as_maps(written), written)
    if not isinstance(wanted, dict):
        raise Failed("the expression must make an Object")
    if wrong := misnamed(written):
        raise Failed(f"type mismatch: {wrong}")
    type_ = schema.of(view.resource, view.version).type
    try:
        _check(type_, wanted)
        merged: Object = apply.merge(type_, view.obj, wanted)
    except (errors.StatusError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"error applying patch: {error}") from error
    return merged


def _tests_fail(obj: Object, steps: list[Object]) -> bool:
    """Whether the first step that does not apply is a test."""
    for count, step in enumerate(steps):
        try:
            patch.json_patch(obj, steps[: count + 1])
        except (ValueError, KeyError, TypeError):
            return step.get("op") == "test"
    return False


def _check(type_: Type, wanted: Object) -> None:
    """An apply configuration must be of its types, and may not replace what is one whole. ValueError."""
    try:
        fieldset.of_object(type_, wanted)
        wrong = list(fieldset.misfits(type_, wanted))
    except fieldset.Misfit as error:
        wrong = [str(error)]
    if wrong:
        listed = wrong[0] if len(wrong) == 1 else "errors:" + "".join(f"\n  {text}" for text in wrong)
        raise ValueError(f"failed to convert patch object to typed object: {listed}")
    if atomic := list(_atomic(type_, wanted, "")):
        text = "may not mutate atomic arrays, maps or structs"
        raise ValueError(f"invalid ApplyConfiguration: {text}: {', '.join(atomic)}")


def _atomic(type_: Type, value: Any, path: str) -> Iterator[str]:
    """Paths of what apply replaces as a whole."""
    if isinstance(value, dict):
        if type_.atomic:
            yield path
        for name, inner in value.items():
            yield from _atomic(fieldset.member_type(type_, name), inner, f"{path}.{name}")
    elif isinstance(value, list):
        if type_.kind == "array" and type_.list_type not in ("map", "set"):
            yield path
        for index, item in enumerate(value):
            yield from _atomic(type_.items or ANY, item, f"{path}[{index}]")
