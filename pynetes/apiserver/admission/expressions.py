"""What CEL expressions of policies and match conditions see, and how they are asked."""

import re
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.admission.matching import namespace_of
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz import attributes as authz
from pynetes.apiserver.objects import Context
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import cel
from pynetes.machinery.meta import Object

if TYPE_CHECKING:
    from pynetes.machinery.cel.runtime import Program

#: Of policies; match conditions of webhooks see the first five.
VARIABLES = ("object", "oldObject", "request", "authorizer", "namespaceObject", "params", "variables")
_SECONDS = REGISTRY.histogram("apiserver_cel_evaluation_duration_seconds", "CEL evaluation time in seconds.")
_COMPILED = REGISTRY.histogram("apiserver_cel_compilation_duration_seconds", "CEL compilation time in seconds.")
_NAMED = re.compile(r"\bvariables\.([A-Za-z_]\w*)")


class Failed(Exception):
    """An expression could not be compiled or evaluated; the text says which and why."""


def request_of(attributes: Attributes) -> Object:
    """The request as AdmissionReview has it, without objects."""
    user, came = attributes.user, attributes.requested or attributes
    metadata = (attributes.obj or {}).get("metadata") or {}
    request: Object = {
        "kind": _kind(attributes),
        "resource": _where(attributes),
        "requestKind": _kind(came),
        "requestResource": _where(came),
        "name": attributes.name or metadata.get("name") or "",
        "operation": attributes.operation,
        "userInfo": user_info(user),
        "dryRun": attributes.dry_run,
        "options": dict(attributes.options) or None,
    }
    if attributes.subresource:
        request |= {"subResource": attributes.subresource, "requestSubResource": attributes.subresource}
    if attributes.namespace:
        request["namespace"] = attributes.namespace
    return request


def _kind(attributes: Attributes) -> Object:
    resource, obj = attributes.resource, attributes.obj
    if attributes.subresource and obj is not None and obj.get("kind"):
        group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
        return {"group": group, "version": version, "kind": obj["kind"]}
    return {"group": resource.group, "version": attributes.version or resource.version, "kind": resource.kind}


def _where(attributes: Attributes) -> Object:
    resource = attributes.resource
    return {"group": resource.group, "version": attributes.version or resource.version, "resource": resource.plural}


def user_info(user: User) -> Object:
    """authentication/v1 UserInfo."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info


def _program(expression: str) -> "Program":
    before, began = cel.compilations(), perf_counter()
    try:
        return cel.program(expression, VARIABLES)
    finally:
        # Most programs are there already, which takes no time and is no compilation.
        if cel.compilations() != before:
            _COMPILED.observe(perf_counter() - began)


class Scene:
    """The values of one request for any number of expressions, with a policy's parameters and variables."""

    def __init__(
        self,
        ctx: Context,
        attributes: Attributes,
        params: Object | None = None,
        variables: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._ctx, self._attributes = ctx, attributes
        resource = (attributes.requested or attributes).resource
        about = {"group": resource.group, "resource": resource.plural, "namespace": attributes.namespace}
        about |= {"subresource": attributes.subresource, "name": attributes.name}
        self._base: dict[str, Any] = {
            "object": attributes.obj,
            "oldObject": attributes.old,
            "request": request_of(attributes),
            "authorizer": {"requestResource": about},
            "namespaceObject": namespace_of(ctx, attributes) if resource.namespaced else None,
            "params": params,
            "variables": {},
        }
        self._failed: dict[str, str] = {}
        for each in variables:
            try:
                self._base["variables"] = {**self._base["variables"], each["name"]: self._value(each["expression"])}
            except (cel.CompileError, cel.EvalError) as error:
                # Only an expression that uses it may fail by it.
                verb = "compile" if isinstance(error, cel.CompileError) else "evaluate"
                self._failed[each["name"]] = f'composited variable "{each["name"]}" fails to {verb}: {error}'

    def evaluate(self, expression: str, written: str = "") -> Any:
        """The expression's value; written is how it was before it was made to be evaluated. Raises Failed."""
        try:
            return self._value(expression)
        except cel.CompileError as error:
            raise Failed(f"compilation error: compilation failed: {error}") from error
        except cel.EvalError as error:
            raise Failed(f"expression '{written or expression}' resulted in error: {error}") from error

    def _value(self, expression: str) -> Any:
        """The same, with the errors of CEL; of a variable that it uses and that has failed, the variable's."""
        program = _program(expression)
        try:
            with _SECONDS.timing():
                return program.limited(self._base, self._check)
        except cel.EvalError as error:
            for name in _NAMED.findall(expression) if self._failed else ():
                if name in self._failed and str(error) == f"no such key: {name}":
                    raise cel.EvalError(self._failed[name]) from error
            raise

    def _check(self, about: Mapping[str, Any]) -> tuple[bool, str]:
        user = self._attributes.user
        if "serviceAccount" in about:
            namespace, _, name = about["serviceAccount"].partition(":")
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
            user = User(name=f"system:serviceaccount:{namespace}:{name}", groups=groups)
        resource = about.get("requestResource", {}) | about if "resource" not in about else about
        asked = authz.Attributes(
            user=user,
            verb=about["verb"],
            group=resource.get("group", ""),
            version="*",
            resource="" if "path" in about else resource.get("resource", ""),
            subresource=resource.get("subresource", ""),
            namespace=resource.get("namespace", ""),
            name=resource.get("name", ""),
            path=about.get("path", ""),
        )
        decision = _now(self._ctx.authorizer.authorize(asked))
        return decision.allowed, decision.reason


def _now(answer: Any) -> authz.Decision:
    """An authorizer may not block, so that its answer is there at the first step."""
    try:
        answer.send(None)
    except StopIteration as done:
        decision: authz.Decision = done.value
        return decision
    answer.close()
    return authz.NO_OPINION


def conditions_hold(scene: Scene, conditions: Sequence[Mapping[str, str]]) -> bool:
    """Whether all match conditions hold; one that is false outweighs one that fails. Raises Failed."""
    failed: list[str] = []
    for each in conditions:
        try:
            if scene.evaluate(each["expression"]) is not True:
                return False
        except Failed as error:
            if str(error) not in failed:
                failed.append(str(error))
    if failed:
        raise Failed(failed[0] if len(failed) == 1 else f"[{', '.join(failed)}]")
    return True
