"""NamespaceLifecycle: nothing new in namespaces that are not there or are going, and three that never go."""

from pynetes.apis.core import namespaces
from pynetes.apiserver.admission.attributes import CREATE, DELETE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery import errors
from pynetes.machinery.meta import Key

IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle(Policy):
    """Runs first: what follows may rely on the namespace."""

    name = "NamespaceLifecycle"

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 404 for a missing namespace, 403 for one that is being terminated."""
        if attributes.on("", "namespaces", DELETE) and attributes.name in IMMORTAL:
            raise attributes.forbidden("this namespace may not be deleted")
        resource = attributes.resource
        if not attributes.namespace or not resource.namespaced or attributes.operation == DELETE:
            return
        if resource.plural == "localsubjectaccessreviews":
            return
        key = Key("", attributes.namespace)
        namespace = ctx.objects.get(namespaces.RESOURCE, key)
        if namespace is None:
            # Another API server may have made it an instant ago.
            await ctx.objects.fresh(namespaces.RESOURCE)
            namespace = ctx.objects.get(namespaces.RESOURCE, key)
        if namespace is None:
            raise errors.not_found("namespaces", "", attributes.namespace)
        if attributes.operation == CREATE and (namespace.get("status") or {}).get("phase") == "Terminating":
            raise _terminating(attributes)


def _terminating(attributes: Attributes) -> errors.StatusError:
    name = attributes.namespace
    error = attributes.forbidden(f"unable to create new content in namespace {name} because it is being terminated")
    error.status.setdefault("details", {})["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return error
