"""What a test of an operator can do with its cluster beyond what any client can."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.testing.blocking import Kubernetes, Options
from pynetes.testing.scripts import Execution, Output, Stage

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: example.org/web:1}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: main, image: example.org/web:1}]}
"""
CRON = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "*/10 * * * *"
  successfulJobsHistoryLimit: 10
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.org/tick:1}]}}}
"""
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def ready(deployment: Object) -> int:
    """How many of its pods are."""
    return int(deployment["status"].get("readyReplicas", 0))


def test_apply_settle_and_look(cluster: Kubernetes, namespace: str) -> None:
    """The ten lines that a newcomer begins with."""
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()
    web = cluster.get("deployment", "web", namespace=namespace)
    assert web is not None
    assert ready(web) == 2
    assert {pod["spec"]["nodeName"] for pod in cluster.list("pods", namespace=namespace)} == {"node-1", "node-2"}
    cluster.delete("deploy", "web", namespace=namespace)
    cluster.settle()
    assert not cluster.list("pods", namespace=namespace)


def test_settled_means_that_nothing_is_written_any_more(cluster: Kubernetes, namespace: str) -> None:
    """Once settled, a second time finds nothing done; and no controller has run into its own writes on the way."""
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()
    made = cluster.requests(namespace=namespace)
    assert {request.status for request in made if request.user.endswith("-controller")} <= {200, 201}
    cluster.settle()
    assert cluster.requests(namespace=namespace) == made


@pytest.mark.parametrize("failures", [1, 3])
def test_settling_waits_for_short_back_offs(cluster: Kubernetes, namespace: str, failures: int) -> None:
    """Who has failed a few times tries again at once; that is work, too."""
    fault = {"verb": "create", "resource": "replicasets", "namespace": namespace, "status": 500, "times": failures}
    with cluster.fault(**fault) as it:
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.settle()
        web = cluster.get("deployment", "web", namespace=namespace)
    assert it.struck == failures
    assert web is not None
    assert ready(web) == 2


def test_settling_does_not_wait_for_who_fails_for_ever(cluster: Kubernetes, namespace: str) -> None:
    """Long back-offs are time that passes, not work."""
    with cluster.fault(verb="create", resource="replicasets", namespace=namespace, status=500) as it:
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.settle()
        assert it.struck >= 5
        assert not cluster.list("replicasets", namespace=namespace)


def test_custom_resources_are_found_by_all_their_names(cluster: Kubernetes, namespace: str) -> None:
    """And what is not served is told with the likely reason."""
    with pytest.raises(LookupError, match="is its CustomResourceDefinition applied"):
        cluster.get("widgets", "w", namespace=namespace)
    cluster.apply(WIDGETS)
    cluster.apply({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}, namespace=namespace)
    for name in ("widgets", "wd", "Widget", "widgets.example.com"):
        assert cluster.get(name, "w", namespace=namespace) is not None


def test_pods_follow_their_script_and_change_on_demand(cluster: Kubernetes, namespace: str) -> None:
    """A release whose new pods never become ready; a probe that fails later."""
    cluster.script(namespace, [Stage("Pending", reason="ErrImagePull", message="no such image")], name="web-*")
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()
    pod = cluster.list("pods", namespace=namespace)[0]
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"
    for each in cluster.list("pods", namespace=namespace):
        cluster.become(each["metadata"]["name"], Stage("Running", ready=True, restarts=3), namespace=namespace)
    cluster.until("deployment", "web", lambda web: ready(web) == 2, namespace=namespace)
    cluster.become(pod["metadata"]["name"], Stage("Running", ready=False), namespace=namespace)
    cluster.until("deployment", "web", lambda web: ready(web) == 1, namespace=namespace)


def test_exit_codes_decide_over_a_job(cluster: Kubernetes, namespace: str) -> None:
    """One code is worth another try, the other ends the Job; both are to be seen in the pods."""
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.org/work:1"}]}}
    for name, code in (("again", 1), ("never", 42)):
        cluster.script(namespace, [Stage("Running"), Stage("Failed", exit_code=code)], name=f"{name}-*")
        spec = {"backoffLimit": 0, "podFailurePolicy": {"rules": rules}, "template": template}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        cluster.apply(job, namespace=namespace)
    for name, code, reason in (("again", 1, "BackoffLimitExceeded"), ("never", 42, "PodFailurePolicy")):
        cluster.until("job", name, lambda job: _failed(job) != "", namespace=namespace)
        assert _failed(cluster.get("job", name, namespace=namespace)) == reason
        (pod,) = (pod for pod in cluster.list("pods", namespace=namespace) if pod["metadata"]["name"].startswith(name))
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (pod["status"]["phase"], ended["exitCode"], ended["reason"]) == ("Failed", code, "Error")


def _failed(job: Object) -> str:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == "Failed"), "")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
def test_logs_and_exec_are_python(cluster: Kubernetes, namespace: str) -> None:
    """The official kubectl reads a script's log and runs its commands, input and exit code included."""

    def answer(call: Execution) -> Output:
        return Output(call.stdin.upper(), f"ran {' '.join(call.command)}\n", 3)

    cluster.script(namespace, logs="one\ntwo\n", exec=answer)
    cluster.apply(POD, namespace=namespace)
    cluster.until("pod", "one", lambda pod: pod["status"]["phase"] == "Running", namespace=namespace)
    kubectl = ["kubectl", f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"]
    logs = subprocess.run([*kubectl, "logs", "one", "--tail=1"], capture_output=True, text=True, check=False)
    assert logs.stdout == "two\n", logs.stderr
    command = [*kubectl, "exec", "-i", "one", "--", "shout", "now"]
    ran = subprocess.run(command, input="hello", capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("HELLO", 3), ran.stderr
    assert ran.stderr.startswith("ran shout now\n")


def test_faults_strike_whom_and_what_they_name(cluster: Kubernetes, namespace: str) -> None:
    """The controllers get over it, and the recording shows both."""
    controller = "system:serviceaccount:kube-system:replicaset-controller"
    with cluster.fault(user=controller, verb="create", resource="pods", namespace=namespace, status=500, times=2) as it:
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.until("deployment", "web", lambda web: ready(web) == 2, namespace=namespace)
    assert it.struck == 2
    made = cluster.requests(user=controller, verb="create", resource="pods", namespace=namespace)
    assert sorted(request.status for request in made) == [201, 201, 500, 500]
    assert made[-1].body["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    with cluster.fault(verb="get", resource="deployments", status=503), pytest.raises(StatusError, match="a fault"):
        cluster.get("deployment", "web", namespace=namespace)
    assert cluster.get("deployment", "web", namespace=namespace) is not None
    with pytest.raises(ValueError, match="status 418"), cluster.fault(status=418):
        pass


@pytest.mark.kubernetes(nodes=1, clock="virtual")
def test_a_delay_holds_requests_up_for_as_long(cluster: Kubernetes, namespace: str) -> None:
    """Of the cluster's own clock: nothing is answered a second too early, everything is afterwards."""
    with cluster.fault(verb="create", resource="replicasets", namespace=namespace, delay=30) as it:
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.advance(29)
        assert it.struck == 1
        assert not cluster.list("replicasets", namespace=namespace)
        cluster.advance(1)
        cluster.settle()
    web = cluster.get("deployment", "web", namespace=namespace)
    assert web is not None
    assert ready(web) == 2
    assert it.struck == 1


@pytest.mark.kubernetes(nodes=1, clock="virtual")
def test_a_delay_may_end_in_an_error(cluster: Kubernetes, namespace: str) -> None:
    """As an API server that is overloaded answers; who asked goes on as after any error."""
    fault = {
        "verb": "create",
        "resource": "replicasets",
        "namespace": namespace,
        "delay": 30,
        "status": 504,
        "times": 1,
    }
    with cluster.fault(**fault) as it:
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.advance(31)
        cluster.settle()
    made = cluster.requests(verb="create", resource="replicasets", namespace=namespace)
    assert (it.struck, [request.status for request in made]) == (1, [504, 201])


def test_broken_watches_lose_nothing(cluster: Kubernetes, namespace: str) -> None:
    """Informers go on after a dropped watch, and list anew after an expired one."""
    for number, interrupt in enumerate((cluster.drop_watches, cluster.expire_watches)):
        interrupt("pods")
        interrupt("deployments")
        cluster.apply(DEPLOYMENT.replace("name: web", f"name: web-{number}"), namespace=namespace)
        cluster.until("deployment", f"web-{number}", lambda web: ready(web) == 2, namespace=namespace)


def test_without_controllers_nothing_happens_until_they_are_back(cluster: Kubernetes, namespace: str) -> None:
    """As between two leaders."""
    with cluster.without_controllers():
        cluster.apply(DEPLOYMENT, namespace=namespace)
        time.sleep(0.05)
        assert not cluster.list("pods", namespace=namespace)
    cluster.until("deployment", "web", lambda web: ready(web) == 2, namespace=namespace)


def test_a_snapshot_brings_everything_back(cluster: Kubernetes, namespace: str) -> None:
    """Deleted objects return as they were, later ones go, and a fork goes its own way."""
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()
    before = cluster.get("deployment", "web", namespace=namespace)
    assert before is not None
    kept = cluster.snapshot()
    with cluster.fork() as other:
        assert other.get("deployment", "web", namespace=namespace)["metadata"]["uid"] == before["metadata"]["uid"]  # type: ignore[index]
        other.delete("deployment", "web", namespace=namespace)
        other.settle()
        assert not other.list("pods", namespace=namespace)
        assert len(cluster.list("pods", namespace=namespace)) == 2
    cluster.delete("deployment", "web", namespace=namespace)
    cluster.apply(POD, namespace=namespace)
    cluster.settle()
    cluster.restore(kept)
    cluster.settle()
    after = cluster.get("deployment", "web", namespace=namespace)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert cluster.get("pod", "one", namespace=namespace) is None
    assert len(cluster.list("pods", namespace=namespace)) == 2


@pytest.mark.kubernetes(nodes=1, clock="virtual")
def test_an_hour_passes_at_once(cluster: Kubernetes, namespace: str) -> None:
    """A CronJob ran six times, at its times; time never passes by itself."""
    cluster.apply(CRON, namespace=namespace)
    cluster.settle()
    assert not cluster.list("jobs", namespace=namespace)
    cluster.advance(3600)
    times = [job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for job in jobs(cluster)]
    assert len(times) == 6
    assert all(moment[14:16] in ("00", "10", "20", "30", "40", "50") for moment in times)


def jobs(cluster: Kubernetes) -> Sequence[Object]:
    """Of all namespaces."""
    return cluster.list("jobs", namespace="")


@pytest.mark.kubernetes(nodes=1, clock="virtual")
def test_back_offs_end_while_time_stands_still(cluster: Kubernetes, namespace: str) -> None:
    """Settling moves a virtual clock by what short back-offs need, and no further."""
    with cluster.fault(verb="create", resource="replicasets", namespace=namespace, status=500, times=2):
        cluster.apply(DEPLOYMENT, namespace=namespace)
        cluster.settle()
    web = cluster.get("deployment", "web", namespace=namespace)
    assert web is not None
    assert ready(web) == 2
    made = cluster.requests(namespace=namespace)
    assert made[-1].at - made[0].at < timedelta(seconds=1)


@pytest.mark.kubernetes(nodes=2, clock="virtual")
def test_a_lost_node_is_noticed_and_its_pods_move(cluster: Kubernetes, namespace: str) -> None:
    """Unreachable after its lease has run out, its pods evicted five minutes later; and then it comes back."""
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()
    with cluster.without_node("node-1"):
        cluster.advance(120)
        node = cluster.get("node", "node-1")
        assert node is not None
        assert {taint["key"] for taint in node["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
        cluster.advance(400)
        cluster.settle()
        placed = [pod["spec"]["nodeName"] for pod in cluster.list("pods", namespace=namespace) if not _leaving(pod)]
        assert placed == ["node-2", "node-2"]
    cluster.advance(60)
    node = cluster.get("node", "node-1")
    assert node is not None
    assert "taints" not in node["spec"]


def _leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


@pytest.mark.kubernetes(nodes=1, clock="automatic")
def test_time_may_run_ahead_by_itself(cluster: Kubernetes, namespace: str) -> None:
    """Whatever waits for hours is there in a moment."""
    cluster.apply(CRON, namespace=namespace)
    cluster.until("cronjob", "tick", lambda cron: "lastSuccessfulTime" in cron.get("status", {}), namespace=namespace)


@pytest.mark.kubernetes(nodes=1, store="sqlite")
def test_the_embedded_store_serves_as_well(cluster: Kubernetes, namespace: str) -> None:
    """But only memory can be copied."""
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.until("deployment", "web", lambda web: ready(web) == 2, namespace=namespace)
    with pytest.raises(TypeError, match="the store 'sqlite' cannot be copied"):
        cluster.snapshot()


def test_a_clock_that_there_is_not() -> None:
    """Is told with those that there are."""
    with pytest.raises(ValueError, match="real, virtual, automatic"):
        Options(clock="sundial")
