"""What `up` configures in the API server beyond the defaults, so that a new cluster begins as a hardened one does.

Secrets are encrypted in etcd with a key that stays beside the cluster's other keys: a copy of etcd's data, or a backup
of it, shows none. Who shows no credentials learns health and version, and is refused before authorization elsewhere.
"""

import base64
import json
import os
from pathlib import Path

from pynetes.cluster.config import Cluster
from pynetes.machinery.meta import Object

#: Who reads everything, all the time.
COMPONENTS = ("system:kube-scheduler", "system:kube-controller-manager", "system:kube-proxy", "system:apiserver")
#: Where anybody may ask: what load balancers and probes need.
OPEN = ("/livez", "/readyz", "/healthz", "/version")
AUTHENTICATION, ENCRYPTION, AUDIT = "authentication.yaml", "encryption.yaml", "audit.yaml"


def flags(cluster: Cluster) -> tuple[str, ...]:
    """The API server's."""
    home = _home(cluster)
    return (
        f"--authentication-config={home / AUTHENTICATION}",
        f"--encryption-provider-config={home / ENCRYPTION}",
        "--encryption-provider-config-automatic-reload=true",
        "--profiling=false",
        f"--audit-policy-file={home / AUDIT}",
        f"--audit-log-path={cluster.logs / 'audit' / 'audit.log'}",
        "--audit-log-maxage=30",
        "--audit-log-maxbackup=10",
        "--audit-log-maxsize=100",
    )


def write(cluster: Cluster) -> None:
    """Make the files that are missing; what somebody has changed, or rotated keys in, stays."""
    home = _home(cluster)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keep(home / AUTHENTICATION, authentication())
    _keep(home / ENCRYPTION, encryption(os.urandom(32)))
    _keep(home / AUDIT, audit())


def authentication() -> Object:
    """Anonymous on the open paths only."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": [{"path": path} for path in OPEN]},
    }


def audit() -> Object:
    """Who changed what, and who looked at Secrets; never a body, and nothing of what components do all the time."""
    secret = [{"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]}]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {"level": "None", "resources": [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io"}]},
            {"level": "None", "userGroups": ["system:nodes"], "verbs": ["get", "list", "watch"]},
            {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
            {"level": "Metadata", "resources": secret, "verbs": ["create", "update", "patch", "delete"]},
            {"level": "None", "users": list(COMPONENTS), "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": ["get", "list", "watch"]},
            {"level": "None", "nonResourceURLs": [*OPEN, "/healthz*", "/livez*", "/readyz*", "/openapi/*", "/api*"]},
            {"level": "Metadata"},
        ],
    }


def encryption(key: bytes) -> Object:
    """Secrets by AES-GCM; what was stored before in plain text is still read."""
    keys = [{"name": "key1", "secret": base64.b64encode(key).decode()}]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": keys}}, {"identity": {}}]}],
    }


def _home(cluster: Cluster) -> Path:
    return cluster.state / "apiserver"


def _keep(path: Path, document: Object) -> None:
    if path.exists():
        return
    # JSON is YAML too. Written beside and moved: a file cut short would lock everybody out of their Secrets.
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
