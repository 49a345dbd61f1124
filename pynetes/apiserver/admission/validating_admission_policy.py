"""ValidatingAdmissionPolicy: requests that CEL expressions refuse, warn about, or note for the audit."""

from collections.abc import Iterator
from typing import NamedTuple

from pynetes.apis.admissionregistration import validatingadmissionpolicies as policies
from pynetes.apis.admissionregistration import validatingadmissionpolicybindings as bindings
from pynetes.apiserver.admission.attributes import Attributes, Policy
from pynetes.apiserver.admission.expressions import Failed, Scene
from pynetes.apiserver.admission.policies import Application, applications
from pynetes.apiserver.objects import Context
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


class Denial(NamedTuple):
    """One validation that did not hold."""

    application: Application
    message: str
    reason: str


class ValidatingAdmissionPolicy(Policy):
    """The first refusal is answered; warnings of all are."""

    name = "ValidatingAdmissionPolicy"

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises StatusError with the policy's reason."""
        refused: Denial | None = None
        for application in applications(ctx, attributes, policies.RESOURCE, bindings.RESOURCE):
            actions = application.binding["spec"].get("validationActions") or ()
            for denial in _denials(application):
                if "Deny" in actions:
                    refused = refused or denial
                if "Warn" in actions:
                    attributes.warnings.append(_warning(denial))
        if refused is not None:
            raise _error(attributes, refused)


def _warning(denial: Denial) -> str:
    binding = denial.application.binding["metadata"]["name"]
    return (
        f"Validation failed for ValidatingAdmissionPolicy '{denial.application.name}' with binding '{binding}':"
        f" {denial.message}"
    )


def _error(attributes: Attributes, denial: Denial) -> StatusError:
    binding = denial.application.binding["metadata"]["name"]
    message = (
        f"ValidatingAdmissionPolicy '{denial.application.name}' with binding '{binding}' denied request:"
        f" {denial.message}"
    )
    error = attributes.forbidden(message)
    status = error.status
    status["reason"], status["code"] = denial.reason, CODES.get(denial.reason, 422)
    status.setdefault("details", {})["causes"] = [{"message": message}]
    return error


def _denials(application: Application) -> Iterator[Denial]:
    spec = application.policy["spec"]
    strict = spec.get("failurePolicy") != "Ignore"
    if application.error:
        if strict:
            yield Denial(application, application.error, "Invalid")
        return
    for validation in spec.get("validations") or ():
        try:
            if application.scene.evaluate(validation["expression"]) is True:
                continue
        except Failed as error:
            if strict:
                yield Denial(application, str(error), "Invalid")
            continue
        yield Denial(application, _message(application.scene, validation), validation.get("reason") or "Invalid")


def _message(scene: Scene, validation: Object) -> str:
    """The expression's message if it makes a sensible one, or the fixed one."""
    if expression := validation.get("messageExpression"):
        try:
            text = scene.evaluate(expression)
        except Failed:
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return str(validation.get("message") or "").strip() or f"failed expression: {validation['expression'].strip()}"
