"""Policies of storage: the default class, finalizers of what is in use, and what may grow."""

from collections.abc import Iterable

from pynetes.apis.storage import storageclasses
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.quantity import parse as quantity

DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
PROTECTED = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


class DefaultStorageClass(Policy):
    """Claims that name no class get the default one; an empty name means none is wanted."""

    name = "DefaultStorageClass"
    admits = frozenset({("", "persistentvolumeclaims")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Fill in spec.storageClassName."""
        claim = attributes.obj
        if claim is None or not attributes.on("", "persistentvolumeclaims", CREATE):
            return
        annotated = CLASS_ANNOTATION in (claim["metadata"].get("annotations") or {})
        if claim["spec"].get("storageClassName") is not None or annotated:
            return
        found = newest_default(ctx.objects.list(storageclasses.RESOURCE), DEFAULT_CLASS)
        if found is not None:
            claim["spec"]["storageClassName"] = found


def newest_default(classes: Iterable[Object], annotations: tuple[str, ...]) -> str | None:
    """The name of the class marked as default; of several the newest, then the first by name."""
    marked = [obj for obj in classes if _marked(obj, annotations)]
    newest = max((obj["metadata"].get("creationTimestamp") or "" for obj in marked), default="")
    names = [obj["metadata"]["name"] for obj in marked if (obj["metadata"].get("creationTimestamp") or "") == newest]
    return min(names, default=None)


def _marked(obj: Object, annotations: tuple[str, ...]) -> bool:
    held = obj["metadata"].get("annotations") or {}
    return any(held.get(name) == "true" for name in annotations)


class StorageObjectInUseProtection(Policy):
    """Claims and volumes stay until nothing uses them."""

    name = "StorageObjectInUseProtection"
    admits = PROTECTED.keys()

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Add the finalizer that the protection controllers remove."""
        obj, resource = attributes.obj, attributes.resource
        finalizer = PROTECTED.get((resource.group, resource.plural))
        if obj is None or finalizer is None or attributes.operation != CREATE or attributes.subresource:
            return
        held = obj["metadata"].get("finalizers") or []
        if finalizer not in held:
            obj["metadata"]["finalizers"] = [*held, finalizer]


class PersistentVolumeClaimResize(Policy):
    """A claim grows only where its class allows it."""

    name = "PersistentVolumeClaimResize"
    validates = frozenset({("", "persistentvolumeclaims")})

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        new, old = attributes.obj, attributes.old
        if new is None or old is None or not attributes.on("", "persistentvolumeclaims", UPDATE):
            return
        wanted, had = _storage(new), _storage(old)
        if wanted is None or had is None or not quantity(had) < quantity(wanted):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbidden("Only bound persistent volume claims can be expanded")
        name = new["spec"].get("storageClassName") or ""
        found = ctx.objects.get(storageclasses.RESOURCE, Key("", name)) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise attributes.forbidden(
                "only dynamically provisioned pvc can be resized and "
                "the storageclass that provisions the pvc must support resize"
            )


def _storage(claim: Object) -> str | None:
    found = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    return str(found) if found is not None else None
