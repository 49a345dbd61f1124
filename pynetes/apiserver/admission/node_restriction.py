"""NodeRestriction: a kubelet writes about itself and its own pods, and grants itself nothing.

The Node authorizer says which objects a kubelet may touch; this says what it may put into them.
"""

from collections.abc import Iterator

from pynetes.apis.core import nodes, pods
from pynetes.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes, Policy
from pynetes.apiserver.authn.user import NODE_PREFIX, NODES, node_name
from pynetes.apiserver.authz import attributes as authz
from pynetes.apiserver.authz.node import references
from pynetes.apiserver.objects import Context
from pynetes.machinery import errors
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Key, Object

MIRROR = "kubernetes.io/config.mirror"
RESTRICTED = "node-restriction.kubernetes.io"
#: Labels under kubernetes.io and k8s.io that a kubelet sets on its own node.
OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    }
)
OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(Policy):
    """Every write of a user in system:nodes."""

    name = "NodeRestriction"

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        user = attributes.user
        if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
            return
        node = node_name(user)
        if node is None:
            raise attributes.forbidden(f"could not determine node from user {quote(user.name)}")
        check = _CHECKS.get((attributes.resource.group, attributes.resource.plural))
        if check is not None:
            await check(ctx, attributes, node)


async def _pods(ctx: Context, attributes: Attributes, node: str) -> None:
    if attributes.subresource == "status":
        _pod_status(attributes, node)
    elif attributes.subresource == "eviction":
        pod = ctx.objects.get(pods.RESOURCE, attributes.key)
        if pod is None:
            raise errors.not_found("pods", "", attributes.name)
        if pod["spec"].get("nodeName") != node:
            raise attributes.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")
    elif attributes.subresource:
        text = f"unexpected pod subresource {quote(attributes.subresource)}, only 'status' and 'eviction' are allowed"
        raise attributes.forbidden(text)
    elif attributes.operation == CREATE:
        _mirror_pod(ctx, attributes, node)
    elif attributes.operation == DELETE:
        if (attributes.old or {"spec": {}})["spec"].get("nodeName") != node:
            text = f"node {quote(node)} can only delete pods with spec.nodeName set to itself"
            raise attributes.forbidden(text)
    else:
        text = f"unexpected operation {quote(attributes.operation)}"
        raise attributes.forbidden(f"{text}, node {quote(node)} can only create and delete mirror pods")


def _pod_status(attributes: Attributes, node: str) -> None:
    new, old = attributes.obj or {}, attributes.old or {}
    if attributes.operation != UPDATE:
        raise attributes.forbidden(f"unexpected operation {quote(attributes.operation)}")
    if old["spec"].get("nodeName") != node:
        text = f"node {quote(node)} can only update pod status for pods with spec.nodeName set to itself"
        raise attributes.forbidden(text)
    if (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
        raise attributes.forbidden(f"node {quote(node)} cannot update labels through pod status")
    now, before = new.get("status") or {}, old.get("status") or {}
    # The Node authorizer lets a node read the claims that stand there.
    for name in ("resourceClaimStatuses", "extendedResourceClaimStatus"):
        if (now.get(name) or None) != (before.get(name) or None):
            raise attributes.forbidden(f"node {quote(node)} cannot update {name} through pod status")


def _mirror_pod(ctx: Context, attributes: Attributes, node: str) -> None:
    pod = attributes.obj or {}
    metadata, spec, shown = pod["metadata"], pod["spec"], quote(node)
    if MIRROR not in (metadata.get("annotations") or {}):
        text = f'pod does not have "{MIRROR}" annotation, node {shown} can only create mirror pods'
        raise attributes.forbidden(text)
    if spec.get("nodeName") != node:
        raise attributes.forbidden(f"node {shown} can only create pods with spec.nodeName set to itself")
    owners = metadata.get("ownerReferences") or []
    if len(owners) > 1:
        raise attributes.forbidden(f"node {shown} can only create pods with a single owner reference set to itself")
    for owner in owners:
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            text = f"node {shown} can only create pods with an owner reference set to itself"
            raise attributes.forbidden(text)
        found = ctx.objects.get(nodes.RESOURCE, Key("", node))
        if found is None or owner.get("uid") != found["metadata"]["uid"]:
            text = f"node {shown} UID mismatch: expected {(found or {'metadata': {}})['metadata'].get('uid')}"
            raise attributes.forbidden(f"{text} got {owner.get('uid')}")
    for kind in _references(spec):
        raise attributes.forbidden(f"node {shown} can not create pods that reference {kind}")


def _references(spec: Object) -> Iterator[str]:
    """What the pod refers to, in the order of asking: only the first is told."""
    if spec.get("serviceAccountName"):
        yield "serviceaccounts"
    named = {plural for plural, name in references(spec) if name}
    yield from (plural for plural in ("secrets", "configmaps") if plural in named)
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or ():
        yield from (what for kind, what in _VOLUMES.items() if volume.get(kind))
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from (what for kind, what in _PROJECTED.items() if source.get(kind) is not None)


#: Kinds of volumes, and of sources of projected ones, that need the API.
_VOLUMES = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_PROJECTED = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


#: What of a claim's status a kubelet tells, having grown the volume.
GROWN = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses", "modifyVolumeStatus")


async def _claims(ctx: Context, attributes: Attributes, node: str) -> None:
    if attributes.operation != UPDATE or attributes.subresource != "status":
        raise attributes.forbidden("may only update PVC status")
    if _beside(attributes.obj or {}) != _beside(attributes.old or {}):
        text = f"node {quote(node)} is not allowed to update fields other than {', '.join(GROWN)} of a claim's status"
        raise attributes.forbidden(text)


def _beside(claim: Object) -> Object:
    """A claim without what its node may write, and what every write moves."""
    metadata = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {name: value for name, value in (claim.get("status") or {}).items() if name not in GROWN}
    return {"metadata": metadata, "spec": claim.get("spec") or {}, "status": status}


async def _nodes(ctx: Context, attributes: Attributes, node: str) -> None:
    new, old = attributes.obj, attributes.old
    name = attributes.name or (new or {"metadata": {}})["metadata"].get("name") or ""
    shown = quote(node)
    if name != node:
        raise attributes.forbidden(f"node {shown} is not allowed to modify node {quote(name)}")
    if new is None:
        return
    if attributes.operation == CREATE:
        bad = sorted(label for label in new["metadata"].get("labels") or {} if _reserved(label))
        if bad:
            text = f"node {shown} is not allowed to set the following labels: {', '.join(bad)}"
            raise attributes.forbidden(text)
        return
    before = (old or {}).get("metadata") or {}
    if new["metadata"].get("ownerReferences") != before.get("ownerReferences"):
        raise attributes.forbidden(f"node {shown} is not allowed to modify ownerReferences")
    if (new.get("spec") or {}).get("taints") != ((old or {}).get("spec") or {}).get("taints"):
        raise attributes.forbidden(f"node {shown} is not allowed to modify taints")
    labels, had = new["metadata"].get("labels") or {}, before.get("labels") or {}
    moved = {label for label in {*labels, *had} if labels.get(label) != had.get(label)}
    bad = sorted(label for label in moved if _reserved(label))
    if bad:
        raise attributes.forbidden(f"node {shown} is not allowed to modify labels: {', '.join(bad)}")


def _reserved(label: str) -> bool:
    domain, slash, _ = label.partition("/")
    if not slash:
        return False
    if domain == RESTRICTED or domain.endswith(f".{RESTRICTED}"):
        return True
    ours = any(domain == known or domain.endswith(f".{known}") for known in ("kubernetes.io", "k8s.io"))
    own = label in OWN_LABELS or any(domain == known or domain.endswith(f".{known}") for known in OWN_DOMAINS)
    return ours and not own


async def _accounts(ctx: Context, attributes: Attributes, node: str) -> None:
    if attributes.operation != CREATE or attributes.subresource != "token":
        return
    spec = (attributes.obj or {}).get("spec") or {}
    ref = spec.get("boundObjectRef")
    if not ref or (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
        raise attributes.forbidden("node requested token not bound to a pod")
    if not ref.get("uid"):
        raise attributes.forbidden("node requested token with a pod binding without a uid")
    key = Key(attributes.namespace, ref["name"])
    pod = ctx.objects.get(pods.RESOURCE, key)
    if pod is None:
        raise errors.not_found("pods", "", key.name)
    if ref["uid"] != pod["metadata"]["uid"]:
        text = f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. "
        text += "The object might have been deleted and then recreated"
        raise errors.conflict("pods", "", key.name, text)
    if pod["spec"].get("nodeName") != node:
        raise attributes.forbidden("node requested token bound to a pod scheduled on a different node")
    await _audiences(ctx, attributes, spec, pod)


async def _audiences(ctx: Context, attributes: Attributes, spec: Object, pod: Object) -> None:
    """The pod's own volumes say for whom tokens are wanted; for anybody else the node needs a right of its own."""
    asked = list(spec.get("audiences") or ())
    if len(asked) > 1:
        text = f"node may only request 0 or 1 audiences, {len(asked)} requested"
        raise attributes.forbidden(text)
    for audience in asked:
        if audience in ctx.settings.audiences or audience in set(_wanted(pod["spec"])):
            continue
        question = authz.Attributes(
            user=attributes.user,
            verb="request-serviceaccounts-token-audience",
            version="v1",
            resource=audience,
            namespace=attributes.namespace,
            name=attributes.name,
        )
        if not (await ctx.authorizer.authorize(question)).allowed:
            raise attributes.forbidden(f"audience {quote(audience)} not found in pod spec volume")


def _wanted(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if token := source.get("serviceAccountToken"):
                yield token.get("audience") or ""


async def _leases(ctx: Context, attributes: Attributes, node: str) -> None:
    if attributes.namespace != "kube-node-lease":
        text = 'can only access leases in the "kube-node-lease" system namespace'
        raise attributes.forbidden(text)
    _same_name(attributes, node, "can only access node lease with the same name as the requesting node")


async def _csi_nodes(ctx: Context, attributes: Attributes, node: str) -> None:
    _same_name(attributes, node, "can only access CSINode with the same name as the requesting node")


def _same_name(attributes: Attributes, node: str, text: str) -> None:
    name = attributes.name or (attributes.obj or {"metadata": {}})["metadata"].get("name") or ""
    if name != node:
        raise attributes.forbidden(text)


async def _slices(ctx: Context, attributes: Attributes, node: str) -> None:
    slice_ = attributes.obj or attributes.old or {}
    if (slice_.get("spec") or {}).get("nodeName") != node:
        raise attributes.forbidden("can only access ResourceSlices with spec.nodeName set to the requesting node")


_CHECKS = {
    ("", "pods"): _pods,
    ("", "nodes"): _nodes,
    ("", "persistentvolumeclaims"): _claims,
    ("", "serviceaccounts"): _accounts,
    ("coordination.k8s.io", "leases"): _leases,
    ("storage.k8s.io", "csinodes"): _csi_nodes,
    ("resource.k8s.io", "resourceslices"): _slices,
}
