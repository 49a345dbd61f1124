"""How the nodes of a cluster get their certificates: by TLS bootstrap, as nodes that join with kubeadm do.

`up` gives each node that has no certificate a bootstrap token of its own, good for an hour; the kubelet makes its key,
asks with the token, and the controllers approve and sign. Once all nodes are Ready the tokens are removed. Which names
and addresses a kubelet's serving certificate may carry is written down here, before the kubelet is there to say so.
"""

import base64
import json
import secrets
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509

from pynetes.cluster.api import Api
from pynetes.cluster.config import Cluster
from pynetes.cluster.network import ClusterNetwork
from pynetes.machinery import time
from pynetes.machinery.meta import Object
from pynetes.pki import files, kubeconfig
from pynetes.pki.layout import CLUSTER_CA, Layout

#: How long a token may be used: a machine under heavy load takes minutes, nobody takes an hour.
LIFE = timedelta(hours=1)
GROUP = "system:bootstrappers:kubeadm:default-node-token"
BOOTSTRAP = "bootstrap-kubelet.conf"
_ALPHABET = string.ascii_lowercase + string.digits
_REQUESTS = "system:certificates.k8s.io:certificatesigningrequests"
_RBAC = "rbac.authorization.k8s.io"
_APPROVER = "pynetes:kubelet-serving-approver"
#: Binding, role, and the group that gets it: kubeadm's names.
_BINDINGS = (
    ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", GROUP),
    ("kubeadm:node-autoapprove-bootstrap", f"{_REQUESTS}:nodeclient", GROUP),
    ("kubeadm:node-autoapprove-certificate-rotation", f"{_REQUESTS}:selfnodeclient", "system:nodes"),
)


def names_file(cluster: Cluster) -> Path:
    """What --kubelet-serving-nodes of the controller manager reads."""
    return cluster.state / "kubelet-serving-nodes.json"


def prepare(cluster: Cluster, network: ClusterNetwork, server: str) -> list[str]:
    """Write what the nodes need to join; returns the names of those that will."""
    named = {node.name: [node.name, node.address] for node in network.nodes}
    files.write(names_file(cluster), json.dumps(named, indent=2).encode())
    layout = Layout(cluster.state)
    joining = []
    for node in cluster.node_names():
        home = layout.node(node)
        if _usable(home.kubeconfig("kubelet.conf")):
            continue
        home.kubeconfig("kubelet.conf").unlink(missing_ok=True)
        token = f"{_random(6)}.{_random(16)}"
        ca = layout.pair(CLUSTER_CA.stem).certificate.read_bytes()
        content = kubeconfig.with_token(
            cluster=cluster.name, server=server, ca=ca, user="tls-bootstrap-token-user", token=token
        )
        files.write(home.kubeconfig(BOOTSTRAP), content)
        joining.append(node)
    return joining


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _usable(path: Path) -> bool:
    """Whether a kubelet can still show who it is."""
    try:
        user = yaml.safe_load(path.read_bytes())["users"][0]["user"]
        found = x509.load_pem_x509_certificate(Path(user["client-certificate"]).read_bytes())
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return found.not_valid_after_utc > datetime.now(UTC)


def objects(cluster: Cluster) -> list[Object]:
    """What lets nodes join and renew: bindings, the approver's rights, and the tokens handed out."""
    return [*map(_binding, *zip(*_BINDINGS, strict=True)), *_approver(), *map(_secret, _tokens(cluster))]


async def forget(cluster: Cluster, api: Api) -> None:
    """Remove the tokens, once every node has its certificate."""
    tokens = list(_tokens(cluster))
    await api.remove([_secret(token) for token in tokens])
    for node in cluster.node_names():
        Layout(cluster.state).node(node).kubeconfig(BOOTSTRAP).unlink(missing_ok=True)


def _tokens(cluster: Cluster) -> Iterator[str]:
    for node in cluster.node_names():
        path = Layout(cluster.state).node(node).kubeconfig(BOOTSTRAP)
        if path.exists():
            yield yaml.safe_load(path.read_bytes())["users"][0]["user"]["token"]


def _secret(token: str) -> Object:
    name, _, secret = token.partition(".")
    data = {
        "token-id": name,
        "token-secret": secret,
        "expiration": time.rfc3339(datetime.now(UTC) + LIFE),
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": GROUP,
        "description": "Made by `pynetes up` for one node to join with.",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{name}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def _binding(name: str, role: str, group: str) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


def _approver() -> list[Object]:
    requests, signer = "certificatesigningrequests", "kubernetes.io/kubelet-serving"
    group = ["certificates.k8s.io"]
    rules = [
        {"apiGroups": group, "resources": [requests], "verbs": ["get", "list", "watch"]},
        {"apiGroups": group, "resources": [f"{requests}/approval"], "verbs": ["update"]},
        {"apiGroups": group, "resources": ["signers"], "resourceNames": [signer], "verbs": ["approve"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    ]
    account = {"kind": "ServiceAccount", "name": "kubelet-serving-approver", "namespace": "kube-system"}
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": _APPROVER}, "rules": rules}
    return [role, {**_binding(_APPROVER, _APPROVER, ""), "subjects": [account]}]
