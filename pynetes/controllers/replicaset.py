"""ReplicaSet: keeps the number of pods that the spec asks for."""

from pynetes.apis.apps import replicasets
from pynetes.apis.core import pods
from pynetes.client.controller import Controller, Rule, Watch
from pynetes.controllers import _owned as owned
from pynetes.controllers import _replicas as replicas
from pynetes.machinery import labels

KIND = replicas.Kind(
    resource=replicasets.RESOURCE,
    selector=lambda obj: labels.from_label_selector(obj["spec"].get("selector")),
    counts_terminating=True,
)

CONTROLLER = Controller(
    name="replicaset-controller",
    reconcile=replicas.reconciler(KIND),
    watches=(
        Watch(replicasets.RESOURCE),
        Watch(pods.RESOURCE, owner=replicasets.RESOURCE),
        owned.orphans(pods.RESOURCE, replicasets.RESOURCE, KIND.selector),
    ),
    rules=(
        Rule("replicasets.apps", "get,list,update,watch"),
        Rule("replicasets.apps/status,replicasets.apps/finalizers", "update"),
        Rule("pods", "create,delete,list,patch,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
