"""What a ValidatingAdmissionPolicy's expressions get wrong about the kinds that it is for.

A policy that names kinds nobody knows, or all of them, is not checked; nor is anything refused: the findings go into
the policy's status, for its author to read.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pynetes import apis
from pynetes.apis.admissionregistration._expressions import Environment
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import definitions

#: Kinds of one rule that are looked at.
_MOST = 10
_META = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OPEN = ("apimachinery.pkg.util.intstr.IntOrString", "apimachinery.pkg.api.resource.Quantity")


class Known(NamedTuple):
    """A kind and its schema."""

    group: str
    version: str
    kind: str
    schema: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


#: Finds a kind by group, version and plural.
Find = Callable[[str, str, str], Known | None]


def warnings(policy: Object, find: Find, params: Mapping[str, Any] | None) -> list[Object]:
    """status.typeChecking.expressionWarnings; params is the schema of its parameters, if it has any that are known."""
    spec, found = policy["spec"], []
    environments = [(kind, _environment(spec, kind, params)) for kind in kinds(policy, find)]
    for index, validation in enumerate(spec.get("validations") or ()):
        for name in ("expression", "messageExpression"):
            if not (source := validation.get(name)):
                continue
            told = [(kind, environment.wrong(source)) for kind, environment in environments]
            if lines := [f"{kind}: {text}\n" for kind, text in told if text]:
                field = f"spec.validations[{index}].{name}"
                found.append({"fieldRef": field, "warning": "\n".join(lines)})
    return found


def kinds(policy: Object, find: Find) -> list[Known]:
    """The kinds that the rules name, without those of rules with a * for groups or versions."""
    found: dict[tuple[str, str, str], Known] = {}
    for rule in (policy["spec"].get("matchConstraints") or {}).get("resourceRules") or ():
        for kind in list(_named(rule, find))[:_MOST]:
            found[kind[:3]] = kind
    return [found[key] for key in sorted(found)]


def _named(rule: Mapping[str, Any], find: Find) -> Iterator[Known]:
    groups, versions = (sorted(rule.get(name) or ()) for name in ("apiGroups", "apiVersions"))
    if any("*" in each for each in (*groups, *versions)):
        return
    plurals = sorted(each for each in rule.get("resources") or () if not {"*", "/"} & set(each))
    for group in groups:
        for version in versions:
            for plural in plurals:
                if kind := find(group, version, plural):
                    yield kind


def built_in(group: str, version: str, plural: str) -> Known | None:
    """A kind that every API server has."""
    resource = apis.find(group, plural)
    name = definitions.kinds().get((group, version, resource.kind)) if resource is not None else None
    if resource is None or name is None:
        return None
    return Known(group, version, resource.kind, _resolved(name, ()))


def custom(definition: Object, version: str) -> Known | None:
    """A kind that a CustomResourceDefinition defines, with all of its metadata."""
    spec = definition["spec"]
    served = next((each for each in spec["versions"] if each["name"] == version and each.get("served")), None)
    if served is None:
        return None
    schema = (served.get("schema") or {}).get("openAPIV3Schema") or {}
    text = {"type": "string"}
    own = {"apiVersion": text, "kind": text, "metadata": _resolved(_META, ())}
    whole = {**schema, "properties": {**(schema.get("properties") or {}), **own}}
    return Known(spec["group"], version, spec["names"]["kind"], whole)


def _environment(spec: Object, kind: Known, params: Mapping[str, Any] | None) -> Environment:
    environment = Environment(params=bool(spec.get("paramKind")), about=kind.schema, params_about=params)
    for variable in spec.get("variables") or ():
        environment.declare(variable["name"])
    return environment


def _resolved(name: str, within: tuple[str, ...]) -> Mapping[str, Any]:
    """A definition with those that it refers to; one within itself may be anything."""
    if name in _OPEN:
        return {"x-kubernetes-int-or-string": True}
    if name in within:
        return {}
    found = definitions.raw().get(name, {})
    if "properties" not in found:
        return _member(found, (*within, name)) if found.get("type") else {}
    members = {each: _member(member, (*within, name)) for each, member in found["properties"].items()}
    return {"type": "object", "properties": members}


def _member(schema: Any, within: tuple[str, ...]) -> Mapping[str, Any]:
    if reference := schema.get("$ref"):
        return _resolved(str(reference).rpartition("/")[2].removeprefix(definitions.PREFIX), within)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    made: dict[str, Any] = {"type": kind} if kind else {}
    if schema.get("format"):
        made["format"] = schema["format"]
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            made[name] = _member(schema[name], within)
    return made
