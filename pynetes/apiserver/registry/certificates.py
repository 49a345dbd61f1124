"""CertificateSigningRequests: who asks is written by the server, because the signer believes it."""

from pynetes.apiserver.admission.attributes import CREATE, Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Allocation

FIELDS = ("username", "uid", "groups", "extra")


class RequestStrategy:
    """CertificateSigningRequests on create."""

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """Replace whatever the client says about itself."""
        if attributes.operation == CREATE and attributes.obj is not None:
            spec = attributes.obj["spec"]
            for name in FIELDS:
                spec.pop(name, None)
            info = attributes.user.info()
            spec |= {name: info[name] for name in FIELDS if info.get(name)}
        return None

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing is held."""
