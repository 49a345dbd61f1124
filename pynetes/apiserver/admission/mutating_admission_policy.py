"""MutatingAdmissionPolicy: changes that CEL expressions make, as apply configurations or JSON patches."""

from pynetes.apis.admissionregistration import mutatingadmissionpolicies as policies
from pynetes.apis.admissionregistration import mutatingadmissionpolicybindings as bindings
from pynetes.apiserver.admission.attributes import CONNECT, DELETE, Attributes, Policy
from pynetes.apiserver.admission.equivalents import take_over
from pynetes.apiserver.admission.expressions import Failed, Scene
from pynetes.apiserver.admission.policies import Application, applications
from pynetes.apiserver.objects import Context
from pynetes.machinery import apply, errors, patch, schema
from pynetes.machinery.cel.constructors import as_maps
from pynetes.machinery.meta import Object


class MutatingAdmissionPolicy(Policy):
    """Each policy sees what the ones before have made of the object."""

    name = "MutatingAdmissionPolicy"

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Change the object. Raises StatusError where a policy fails that must not."""
        if attributes.obj is None or attributes.operation in (DELETE, CONNECT):
            return
        async for application in applications(ctx, attributes, policies.RESOURCE, bindings.RESOURCE):
            spec = application.policy["spec"]
            try:
                if application.error:
                    raise Failed(application.error)
                for mutation in spec.get("mutations") or ():
                    view = application.view
                    await take_over(ctx, attributes, view, _mutated(application, mutation))
                    scene = Scene(ctx, view, application.params, spec.get("variables") or ())
                    application = application._replace(scene=scene)
            except Failed as error:
                if spec.get("failurePolicy") != "Ignore":
                    binding = application.binding["metadata"]["name"]
                    text = f"policy '{application.name}' with binding '{binding}' denied request: {error}"
                    raise attributes.forbidden(text) from error


def _mutated(application: Application, mutation: Object) -> Object:
    view = application.view
    assert view.obj is not None
    try:
        if mutation["patchType"] == "JSONPatch":
            steps = application.scene.evaluate(as_maps(mutation["jsonPatch"]["expression"]))
            return patch.json_patch(view.obj, steps)
        wanted = application.scene.evaluate(as_maps(mutation["applyConfiguration"]["expression"]))
    except (errors.StatusError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"error applying patch: {error}") from error
    if not isinstance(wanted, dict):
        raise Failed("the expression must make an Object")
    merged: Object = apply.merge(schema.of(view.resource, view.version).type, view.obj, wanted)
    return merged
