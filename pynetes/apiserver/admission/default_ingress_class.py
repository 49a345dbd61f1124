"""DefaultIngressClass: an Ingress that names no class gets the default one."""

from pynetes.apis.networking import ingressclasses
from pynetes.apiserver.admission.attributes import CREATE, Attributes, Policy
from pynetes.apiserver.admission.storage import newest_default
from pynetes.apiserver.objects import Context

DEFAULT_CLASS = ("ingressclass.kubernetes.io/is-default-class",)
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass(Policy):
    """Ingresses on create."""

    name = "DefaultIngressClass"
    admits = frozenset({("networking.k8s.io", "ingresses")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Fill in spec.ingressClassName."""
        ingress = attributes.obj
        if ingress is None or not attributes.on("networking.k8s.io", "ingresses", CREATE):
            return
        spec = ingress.setdefault("spec", {})
        annotated = CLASS_ANNOTATION in (ingress["metadata"].get("annotations") or {})
        if spec.get("ingressClassName") is not None or annotated:
            return
        found = newest_default(ctx.objects.list(ingressclasses.RESOURCE), DEFAULT_CLASS)
        if found is not None:
            spec["ingressClassName"] = found
