"""The Node authorizer: a kubelet may do what a kubelet does, to its own node, and read only what its own pods use.

Which object belongs to which node follows from the pods bound there, so a stolen node credential opens no more than
what that node runs already. NodeRestriction (admission) guards the content of what is written.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pynetes.apis.core import persistentvolumeclaims, persistentvolumes, pods
from pynetes.apis.storage import volumeattachments
from pynetes.apiserver.authn.user import NODE_PREFIX, NODES, User, node_name
from pynetes.apiserver.authz import rules
from pynetes.apiserver.authz.attributes import NO_OPINION, Attributes, Decision, Verdict
from pynetes.apiserver.objects import Objects
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Key, Object

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch")
ALLOW = Decision(Verdict.ALLOW)

#: plural, namespace, name of something a pod uses.
Use = tuple[str, str, str]


def _rule(verbs: str, group: str, resources: str) -> Object:
    return {"verbs": verbs.split(","), "apiGroups": [group], "resources": resources.split(",")}


#: What needs no look at the graph.
RULES = rules.compile_rules(
    (
        _rule("create", "authentication.k8s.io", "tokenreviews"),
        _rule("create", "authorization.k8s.io", "subjectaccessreviews,localsubjectaccessreviews"),
        _rule("get,list,watch", "", "services"),
        _rule("create,patch,update", "", "events"),
        _rule("create,patch,update", "events.k8s.io", "events"),
        _rule("create,delete", "", "pods"),
        _rule("patch,update", "", "pods/status"),
        _rule("create", "", "pods/eviction"),
        _rule("patch,update", "", "persistentvolumeclaims/status"),
        _rule("get", "", "endpoints"),
        _rule("create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"),
        _rule("get,list,watch", "storage.k8s.io", "csidrivers"),
        _rule("get,list,watch", "node.k8s.io", "runtimeclasses"),
        _rule("get,list,watch", "certificates.k8s.io", "clustertrustbundles"),
        _rule("get,create,update,patch,list,watch,delete,deletecollection", "resource.k8s.io", "resourceslices"),
    )
)


def uses(pod: Object) -> Iterator[Use]:
    """Everything a pod's node must be able to read for it. Mirror pods name nothing: their node wrote them itself."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = metadata["namespace"]
    yield "pods", namespace, metadata["name"]
    if "kubernetes.io/config.mirror" in (metadata.get("annotations") or {}):
        return
    yield "serviceaccounts", namespace, spec.get("serviceAccountName") or ""
    for plural, name in references(spec, metadata["name"]):
        yield plural, namespace, name
    claims = [*(spec.get("resourceClaims") or ()), *((pod.get("status") or {}).get("resourceClaimStatuses") or ())]
    claims.append((pod.get("status") or {}).get("extendedResourceClaimStatus") or {})
    for claim in claims:
        yield "resourceclaims", namespace, claim.get("resourceClaimName") or ""


def references(spec: Object, pod: str = "") -> Iterator[tuple[str, str]]:
    """(resource, name) of all that containers, volumes and pulls name; a name may be empty. `pod` is the pod's name."""
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name") or ""
    for container in _containers(spec):
        yield from _environment(container)
    for volume in spec.get("volumes") or ():
        yield from _volume(volume, pod)


def _containers(spec: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def _environment(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield "configmaps", (source.get("configMapRef") or {}).get("name") or ""
        yield "secrets", (source.get("secretRef") or {}).get("name") or ""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "configmaps", (source.get("configMapKeyRef") or {}).get("name") or ""
        yield "secrets", (source.get("secretKeyRef") or {}).get("name") or ""


#: Volume kinds that carry a reference to a secret, and under which field.
SECRET_VOLUMES = {
    "azureFile": "secretName",
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "csi": "nodePublishSecretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "secret": "secretName",
    "storageos": "secretRef",
}


def _volume(volume: Object, pod: str) -> Iterator[tuple[str, str]]:
    for kind, where in SECRET_VOLUMES.items():
        ref = (volume.get(kind) or {}).get(where) or ""
        yield "secrets", ref if isinstance(ref, str) else ref.get("name") or ""
    yield "configmaps", (volume.get("configMap") or {}).get("name") or ""
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName") or ""
    if "ephemeral" in volume:
        yield "persistentvolumeclaims", f"{pod}-{volume['name']}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "configmaps", (source.get("configMap") or {}).get("name") or ""
        yield "secrets", (source.get("secret") or {}).get("name") or ""


class Graph:
    """What each node's pods use, counted, so that the last pod to go takes the right with it."""

    def __init__(self) -> None:
        self._used: dict[str, Counter[Use]] = {}

    def reset(self, objs: Iterable[Object]) -> None:
        """Start over."""
        self._used.clear()
        for pod in objs:
            self.changed(pod, None)

    def changed(self, new: Object | None, old: Object | None) -> None:
        """A pod came, went, was bound or changed."""
        if new is not None and (node := new["spec"].get("nodeName")):
            self._used.setdefault(node, Counter()).update(set(uses(new)))
        if old is not None and (node := old["spec"].get("nodeName")):
            used = self._used[node]
            used.subtract(set(uses(old)))
            for use in [use for use in set(uses(old)) if used[use] <= 0]:
                del used[use]
            if not used:
                del self._used[node]

    def related(self, node: str, plural: str, key: Key) -> bool:
        """Whether a pod on the node uses the object."""
        return bool(key.name) and (plural, *key) in self._used.get(node, ())

    def claims(self, node: str) -> list[Key]:
        """The claims that pods of the node use."""
        return [Key(namespace, name) for plural, namespace, name in self._used.get(node, ()) if plural == CLAIMS]


CLAIMS = "persistentvolumeclaims"


class NodeAuthorizer:
    """Mode Node."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._graph = Graph()
        objects.keep(pods.RESOURCE, self._graph, having="spec.nodeName")

    async def authorize(self, attributes: Attributes) -> Decision:
        """No opinion on anybody but kubelets; for those, allow or say what is missing."""
        if not _is_node(attributes.user) or attributes.path:
            return NO_OPINION
        node = node_name(attributes.user)
        if node is None:
            return _no(f"unknown node for user {quote(attributes.user.name)}")
        decide = _DECIDERS.get((attributes.group, attributes.resource))
        return decide(self, node, attributes) if decide else _general(attributes)

    def _node(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource == "status":
            return ALLOW if attributes.verb in ("update", "patch") else _no("can only update or patch status")
        if attributes.subresource:
            return _no("can only use the status subresource of nodes")
        if attributes.verb in WRITE:
            return ALLOW
        if attributes.verb not in READ:
            return _no(f"node {quote(node)} cannot {attributes.verb} nodes")
        if attributes.name == node:
            return ALLOW
        what = quote(attributes.name) if attributes.name else "all nodes"
        return _no(f"node {quote(node)} cannot read {what}, only its own Node object")

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource or attributes.verb not in READ:
            return _general(attributes)
        if attributes.verb == "get":
            return self._connected(node, attributes)
        if f"spec.nodeName={node}" in attributes.field_selector.replace("==", "=").split(","):
            return ALLOW
        return _no("can only list/watch pods with spec.nodeName field selector")

    def _used(self, node: str, attributes: Attributes) -> Decision:
        """Secrets and configmaps: get, and list or watch of a single name."""
        if attributes.verb not in READ or attributes.subresource:
            return _no("can only read resources of this type")
        return self._connected(node, attributes)

    def _got(self, node: str, attributes: Attributes) -> Decision:
        """Claims, volumes, attachments: get only; the status of claims may be written while a volume grows."""
        if attributes.resource == CLAIMS and attributes.subresource == "status":
            if attributes.verb not in ("update", "patch"):
                return _no("can only update and patch the status of persistentvolumeclaims")
            return self._connected(node, attributes)
        if attributes.verb != "get" or attributes.subresource:
            return _no("can only get individual resources of this type")
        return self._connected(node, attributes)

    def _account(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb == "get" and not attributes.subresource:
            return self._connected(node, attributes)
        if attributes.verb != "create" or not attributes.name:
            return _no("can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._connected(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a node lease")
        if attributes.namespace != "kube-node-lease":
            return _no('can only access leases in the "kube-node-lease" system namespace')
        if attributes.verb != "create" and attributes.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return ALLOW

    def _csi_node(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a CSINode")
        if attributes.subresource:
            return _no("cannot authorize CSINode subresources")
        if attributes.verb != "create" and attributes.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return ALLOW

    def _connected(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return _no("No Object name found")
        plural, key = attributes.resource, Key(attributes.namespace, attributes.name)
        if self._graph.related(node, plural, key) or self._indirect(node, plural, key):
            return ALLOW
        return _no(f"no relationship found between node {quote(node)} and this object")

    def _indirect(self, node: str, plural: str, key: Key) -> bool:
        if plural == "persistentvolumes":
            volume = self._objects.get(persistentvolumes.RESOURCE, key) or {"spec": {}}
            claim = volume["spec"].get("claimRef") or {}
            return self._graph.related(node, CLAIMS, Key(claim.get("namespace") or "", claim.get("name") or ""))
        if plural == "volumeattachments":
            attachment = self._objects.get(volumeattachments.RESOURCE, key)
            return attachment is not None and attachment["spec"].get("nodeName") == node
        return plural == "secrets" and any(key in self._volume_secrets(claim) for claim in self._graph.claims(node))

    def _volume_secrets(self, claim: Key) -> set[Key]:
        """The secrets that the volume bound to a claim names, for its CSI driver."""
        found = self._objects.get(persistentvolumeclaims.RESOURCE, claim) or {"spec": {}}
        name = found["spec"].get("volumeName")
        volume = self._objects.get(persistentvolumes.RESOURCE, Key("", name)) if name else None
        csi = (volume or {"spec": {}})["spec"].get("csi") or {}
        refs = (csi.get(field) for field in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"))
        return {Key(ref.get("namespace") or "", ref.get("name") or "") for ref in refs if ref}


_DECIDERS = {
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
    ("", "secrets"): NodeAuthorizer._used,
    ("", "configmaps"): NodeAuthorizer._used,
    ("", CLAIMS): NodeAuthorizer._got,
    ("", "persistentvolumes"): NodeAuthorizer._got,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._got,
    ("resource.k8s.io", "resourceclaims"): NodeAuthorizer._got,
    ("", "serviceaccounts"): NodeAuthorizer._account,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
}


def _is_node(user: User) -> bool:
    return NODES in user.groups and user.name.startswith(NODE_PREFIX)


def _general(attributes: Attributes) -> Decision:
    asked = attributes.verb, attributes.group, attributes.resource, attributes.subresource, attributes.name
    return ALLOW if any(rules.allows_resource(rule, *asked) for rule in RULES) else NO_OPINION


def _no(reason: str) -> Decision:
    return Decision(Verdict.NO_OPINION, reason)
