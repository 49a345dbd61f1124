"""ValidatingAdmissionPolicy: requests that CEL expressions refuse, warn about, or note for the audit."""

from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

import orjson

from pynetes.apis.admissionregistration import validatingadmissionpolicies as policies
from pynetes.apis.admissionregistration import validatingadmissionpolicybindings as bindings
from pynetes.apiserver.admission.attributes import Attributes, Policy
from pynetes.apiserver.admission.expressions import Failed, Scene
from pynetes.apiserver.admission.policies import Application, applications
from pynetes.apiserver.objects import Context
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_LABELS = "policy", "policy_binding", "error_type", "enforcement_action"
_CHECKS = REGISTRY.counter(
    "apiserver_validating_admission_policy_check_total",
    "Validation admission policy check total, labeled by policy and further identified by binding and enforcement "
    "action taken.",
    *_LABELS,
)
_CHECK_SECONDS = REGISTRY.histogram(
    "apiserver_validating_admission_policy_check_duration_seconds",
    "Validation admission latency for individual validation expressions in seconds, labeled by policy and further "
    "including binding and enforcement action taken.",
    *_LABELS,
    buckets=(0.0000005, 0.001, 0.01, 0.1, 1.0),
)
#: What metrics call a validation that held.
ALLOWED = ("allow",)
FAILURE = "validation.policy.admission.k8s.io/validation_failure"
#: Bytes of a message that an expression makes, and of an annotation's value.
LONGEST, LONGEST_NOTE = 5 * 1024, 10 * 1024


class Denial(NamedTuple):
    """One validation that did not hold; place is its number in the policy, None of what is refused in any case."""

    application: Application
    message: str
    reason: str
    place: int | None = 0


class ValidatingAdmissionPolicy(Policy):
    """The first refusal is answered; warnings of all are."""

    name = "ValidatingAdmissionPolicy"
    rules = bindings.RESOURCE

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises StatusError with the policy's reason."""
        refused: Denial | None = None
        notes: dict[str, list[str]] = {}
        async for application in applications(ctx, attributes, policies.RESOURCE, bindings.RESOURCE):
            actions = application.binding["spec"].get("validationActions") or ()
            for denial in (*_denials(application), *_noted(application, notes)):
                if denial.place is None or "Deny" in actions:
                    refused = refused or denial
                if denial.place is not None and "Audit" in actions:
                    attributes.annotations.setdefault(FAILURE, _failure(denial))
                if denial.place is not None and "Warn" in actions:
                    attributes.warnings.append(_warning(denial))
        for key, values in notes.items():
            attributes.annotations.setdefault(key, ", ".join(values))
        if refused is not None:
            raise _error(attributes, refused)


def _failure(denial: Denial) -> str:
    """What the audit log tells of a validation that did not hold."""
    spec = denial.application.binding["spec"]
    told = {"message": denial.message, "policy": spec["policyName"]}
    told |= {"binding": denial.application.binding["metadata"]["name"], "expressionIndex": denial.place}
    return orjson.dumps([told | {"validationActions": spec.get("validationActions")}]).decode()


def _noted(application: Application, notes: dict[str, list[str]]) -> Iterator[Denial]:
    """Gathers a policy's audit annotations, each value once; one that fails refuses the request under Fail."""
    spec = application.policy["spec"]
    for each in () if application.error else spec.get("auditAnnotations") or ():
        try:
            value = application.scene.evaluate(each["valueExpression"])
        except Failed as error:
            if spec.get("failurePolicy") != "Ignore":
                yield Denial(application, str(error), "Invalid", None)
            continue
        if value is not None and not isinstance(value, str) and spec.get("failurePolicy") != "Ignore":
            text = (
                f"valueExpression '{each['valueExpression']}' resulted in unsupported return type: {_type(value)}."
                " Return type must be either string or null."
            )
            yield Denial(application, text, "Invalid", None)
            continue
        text = value.strip().encode()[:LONGEST_NOTE].decode(errors="ignore") if isinstance(value, str) else ""
        values = notes.setdefault(f"{application.name}/{each['key']}", []) if text else []
        if text and text not in values:
            values.append(text)


def _type(value: object) -> str:
    """CEL's name of a value's type."""
    names = {bool: "bool", int: "int", float: "double", list: "list", dict: "map", bytes: "bytes"}
    return names.get(type(value), "dyn")


def _warning(denial: Denial) -> str:
    binding = denial.application.binding["metadata"]["name"]
    return (
        f"Validation failed for ValidatingAdmissionPolicy '{denial.application.name}' with binding '{binding}':"
        f" {denial.message}"
    )


def _error(attributes: Attributes, denial: Denial) -> StatusError:
    binding = denial.application.binding["metadata"]["name"]
    bound = "" if denial.application.unbound else f" with binding '{binding}'"
    message = f"ValidatingAdmissionPolicy '{denial.application.name}'{bound} denied request: {denial.message}"
    error = attributes.forbidden(message)
    status = error.status
    status["reason"], status["code"] = denial.reason, CODES.get(denial.reason, 422)
    status.setdefault("details", {})["causes"] = [{"message": message}]
    return error


def _enforced(application: Application) -> tuple[str, ...]:
    """What the binding says is done, as metrics call it."""
    actions = application.binding["spec"].get("validationActions") or ()
    return tuple(action.lower() for action in actions)


def _count(application: Application, began: float, actions: tuple[str, ...], error: str = "no_error") -> None:
    """One validation was checked, and this is done about it."""
    seconds, binding = perf_counter() - began, application.binding["metadata"]["name"]
    for action in actions:
        _CHECKS.inc(application.name, binding, error, action)
        _CHECK_SECONDS.observe(seconds, application.name, binding, error, action)


def _denials(application: Application) -> Iterator[Denial]:
    spec = application.policy["spec"]
    strict = spec.get("failurePolicy") != "Ignore"
    if application.error:
        if strict:
            yield Denial(application, application.error, "Invalid", None if application.misconfigured else 0)
        return
    for index, validation in enumerate(spec.get("validations") or ()):
        began = perf_counter()
        try:
            if application.scene.evaluate(validation["expression"]) is True:
                _count(application, began, ALLOWED)
                continue
        except Failed as error:
            wrong = "compile_error" if str(error).startswith("compilation error") else "invalid_error"
            _count(application, began, _enforced(application) if strict else ALLOWED, wrong)
            if strict:
                yield Denial(application, str(error), "Invalid", index)
            continue
        _count(application, began, _enforced(application))
        message = _message(application.scene, validation)
        yield Denial(application, message, validation.get("reason") or "Invalid", index)


def _message(scene: Scene, validation: Object) -> str:
    """The expression's message if it makes a sensible one, or the fixed one."""
    if expression := validation.get("messageExpression"):
        try:
            text = scene.evaluate(expression)
        except Failed:
            text = None
        text = text.strip() if isinstance(text, str) else ""
        if text and "\n" not in text and len(text.encode()) <= LONGEST:
            return text
    return str(validation.get("message") or "").strip() or f"failed expression: {validation['expression'].strip()}"
