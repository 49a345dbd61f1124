"""Questions about a pod's spec that several parts of the kubelet ask."""

import hashlib
import json
from collections.abc import Iterator

from pynetes.machinery.meta import Object


def full_name(pod: Object) -> str:
    """name_namespace(uid), as upstream's messages name a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata.get('namespace', '')}({metadata['uid']})"


def inits(pod: Object) -> list[Object]:
    """Init containers, restartable ones among them."""
    return list(pod["spec"].get("initContainers") or ())


def regulars(pod: Object) -> list[Object]:
    """Ordinary containers."""
    return list(pod["spec"].get("containers") or ())


def ephemerals(pod: Object) -> list[Object]:
    """Containers that were added for debugging."""
    return list(pod["spec"].get("ephemeralContainers") or ())


def everything(pod: Object) -> Iterator[Object]:
    """Containers of every kind."""
    yield from inits(pod)
    yield from regulars(pod)
    yield from ephemerals(pod)


def find(pod: Object, name: str) -> Object | None:
    """A container of any kind by its name."""
    return next((container for container in everything(pod) if container["name"] == name), None)


def is_sidecar(container: Object) -> bool:
    """A restartable init container (only meaningful for init containers)."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Object) -> str:
    """Always, OnFailure or Never."""
    return str(pod["spec"].get("restartPolicy") or "Always")


def restarts(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with exit_code is to run again; its own policy and rules come first."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if listed == (codes.get("operator") == "In") and rule.get("action") == "Restart":
            return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def host_network(pod: Object) -> bool:
    """Whether the pod lives in the node's network namespace."""
    return bool(pod["spec"].get("hostNetwork"))


def container_hash(container: Object) -> str:
    """What makes a running container outdated when it changes: its image (all else is immutable, or resized)."""
    text = json.dumps([container["name"], container.get("image", "")])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def grace(pod: Object) -> int:
    """Seconds that containers get between TERM and KILL."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds")
    return max(int(30 if asked is None else asked), 0)


def hostname(pod: Object) -> str:
    """The hostname inside the pod: at most 63 characters, and not ending in what may not end a name."""
    name = pod["spec"].get("hostnameOverride") or pod["spec"].get("hostname") or pod["metadata"]["name"]
    return str(name)[:63].rstrip("-.")
