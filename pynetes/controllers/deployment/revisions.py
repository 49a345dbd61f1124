"""A Deployment's ReplicaSets: which is the new one, what the old ones are, and what a new one looks like.

The annotations on them are the memory of a rollout: its revision, and the sizes the Deployment had when it last scaled
them, from which proportional scaling works.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy

from pynetes.apis.apps import deployments, replicasets
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import _templates as templates
from pynetes.machinery import intstr
from pynetes.machinery.meta import Object

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
#: Annotations of the Deployment that its ReplicaSets do not inherit.
_OWN = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    )
)


def replicas(obj: Object) -> int:
    """spec.replicas, 1 when not given."""
    wanted = obj["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def total(sets: Iterable[Object]) -> int:
    """The pods that these ReplicaSets ask for."""
    return sum(replicas(each) for each in sets)


def counted(sets: Iterable[Object], name: str) -> int:
    """The sum of a number in their status."""
    return sum((each.get("status") or {}).get(name, 0) for each in sets)


def is_rolling(deployment: Object) -> bool:
    """Whether it is updated pod by pod, not all at once."""
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def limits(deployment: Object) -> tuple[int, int]:
    """maxSurge and maxUnavailable as counts; never both zero, for then no update could move."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas(deployment)
    surge = intstr.scaled(rolling.get("maxSurge", "25%"), wanted, round_up=True)
    unavailable = intstr.scaled(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return surge, min(unavailable, wanted)


def annotations(obj: Object) -> dict[str, str]:
    """metadata.annotations, {} when there are none."""
    return obj["metadata"].get("annotations") or {}


def number(obj: Object, name: str) -> int:
    """An annotation that is a number; 0 when absent or none."""
    try:
        return int(annotations(obj).get(name, 0))
    except ValueError:
        return 0


def find_new(deployment: Object, sets: Iterable[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's template."""
    template = deployment["spec"]["template"]
    ordered = sorted(sets, key=lambda each: (podinfo.created(each), each["metadata"]["name"]))
    return next((each for each in ordered if templates.same(each["spec"]["template"], template)), None)


def size_of_new(deployment: Object, sets: Sequence[Object], new: Object | None) -> int:
    """How large the new ReplicaSet may be now: a rolling update holds the total at replicas + maxSurge."""
    wanted, current = replicas(deployment), replicas(new) if new else 0
    if not is_rolling(deployment):
        return wanted
    room = wanted + limits(deployment)[0] - total(sets)
    return current if room <= 0 else current + min(room, wanted - current)


def inherit(deployment: Object, target: Object, revision: int, *, existing: bool) -> dict[str, str]:
    """The annotations that target should have; a revision it had before goes to its history."""
    merged = dict(annotations(target))
    merged |= {name: text for name, text in annotations(deployment).items() if name not in _OWN}
    old = number(target, REVISION)
    if old < revision:
        merged[REVISION] = str(revision)
        if existing and old:
            history = merged.get(HISTORY, "")
            merged[HISTORY] = f"{history},{old}" if history else str(old)
    return merged


def sized(deployment: Object, target: Object, size: int) -> Object:
    """target with this size, and the note of what the Deployment asked for."""
    noted = {DESIRED: str(replicas(deployment)), MAXIMUM: str(replicas(deployment) + limits(deployment)[0])}
    metadata = target["metadata"] | {"annotations": annotations(target) | noted}
    return target | {"metadata": metadata, "spec": target["spec"] | {"replicas": size}}


def build(deployment: Object, sets: Sequence[Object], revision: int) -> Object:
    """The ReplicaSet to create for the Deployment's template."""
    template = deepcopy(deployment["spec"]["template"])
    collisions = (deployment.get("status") or {}).get("collisionCount") or 0
    digest = templates.hash_of(template, collisions)
    hashed = {templates.POD_TEMPLATE_HASH: digest}
    template["metadata"] = (template.get("metadata") or {}) | {}
    template["metadata"]["labels"] = (template["metadata"].get("labels") or {}) | hashed
    selector = deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | hashed
    new: Object = {
        "apiVersion": replicasets.RESOURCE.api_version,
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{digest}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owned.reference(deployments.RESOURCE, deployment)],
        },
        "spec": {"selector": selector, "template": template},
    }
    if seconds := deployment["spec"].get("minReadySeconds"):
        new["spec"]["minReadySeconds"] = seconds
    new["metadata"]["annotations"] = inherit(deployment, new, revision, existing=False)
    return sized(deployment, new, size_of_new(deployment, sets, None))
