"""ReplicationController: the ReplicaSet of before selectors had expressions."""

from pynetes.apis.core import pods, replicationcontrollers
from pynetes.client.controller import Controller, Rule, Watch
from pynetes.controllers import _owned as owned
from pynetes.controllers import _replicas as replicas
from pynetes.machinery import labels

KIND = replicas.Kind(
    resource=replicationcontrollers.RESOURCE,
    selector=lambda obj: labels.from_labels(obj["spec"].get("selector")),
    counts_terminating=False,
)

CONTROLLER = Controller(
    name="replicationcontroller-controller",
    service_account="replication-controller",
    reconcile=replicas.reconciler(KIND),
    watches=(
        Watch(replicationcontrollers.RESOURCE),
        Watch(pods.RESOURCE, owner=replicationcontrollers.RESOURCE),
        owned.orphans(pods.RESOURCE, replicationcontrollers.RESOURCE, KIND.selector),
    ),
    rules=(
        Rule("replicationcontrollers", "get,list,update,watch"),
        Rule("replicationcontrollers/status,replicationcontrollers/finalizers", "update"),
        Rule("pods", "create,delete,list,patch,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
