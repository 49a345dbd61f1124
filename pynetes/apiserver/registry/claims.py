"""Claims of devices with admin access: only in namespaces that say so, as such a claim sees what others use."""

from pynetes.apis.core import namespaces
from pynetes.apiserver.admission.attributes import CREATE, Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Allocation
from pynetes.machinery import errors, field
from pynetes.machinery.meta import Key

LABEL = "resource.kubernetes.io/admin-access"


class ClaimStrategy:
    """ResourceClaims and ResourceClaimTemplates on create; their specs never change."""

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """Raises 422 for admin access where the namespace does not allow it."""
        obj = attributes.obj
        if attributes.operation != CREATE or attributes.subresource or obj is None:
            return None
        spec = obj.get("spec") or {}
        spec = (spec.get("spec") or {}) if attributes.resource.plural == "resourceclaimtemplates" else spec
        for index, request in enumerate((spec.get("devices") or {}).get("requests") or ()):
            if (request.get("exactly") or {}).get("adminAccess"):
                namespace = ctx.objects.get(namespaces.RESOURCE, Key("", attributes.namespace)) or {"metadata": {}}
                if (namespace["metadata"].get("labels") or {}).get(LABEL) == "true":
                    return None
                detail = f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
                problem = field.forbidden(f"spec.devices.requests[{index}].adminAccess", detail)
                resource = attributes.resource
                raise errors.invalid(resource.kind, resource.group, attributes.name, [problem])
        return None

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing is held."""
