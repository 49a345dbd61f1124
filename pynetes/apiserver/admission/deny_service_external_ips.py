"""DenyServiceExternalIPs: nobody adds externalIPs to a Service. Off unless asked for.

Whoever may write Services could otherwise draw to himself what others send to an address that is not his.
"""

from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context


class DenyServiceExternalIPs(Policy):
    """What a Service has may stay, and go."""

    name = "DenyServiceExternalIPs"
    validates = frozenset({("", "services")})

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        if not attributes.on("", "services", CREATE, UPDATE) or attributes.obj is None:
            return
        before = set(((attributes.old or {}).get("spec") or {}).get("externalIPs") or ())
        if set(attributes.obj["spec"].get("externalIPs") or ()) - before:
            raise attributes.forbidden("Use of external IPs is denied by admission control.")
