"""What a pod needs next, decided from its spec and from what runs."""

from dataclasses import replace
from typing import Any

from pynetes.kubelet import lifecycle, podspec
from pynetes.kubelet.cri.state import Container, PodRuntime, Sandbox, State
from pynetes.kubelet.lifecycle import Actions, Probed
from pynetes.machinery.meta import Object

SANDBOX = Sandbox(id="s0", ready=True, ips=("10.0.0.1",))


def pod(*, policy: str = "Always", inits: tuple[Object, ...] = (), names: tuple[str, ...] = ("c",)) -> Object:
    """A pod of containers with these names."""
    containers = [{"name": name, "image": "i"} for name in names]
    spec = {"restartPolicy": policy, "containers": containers, "initContainers": list(inits)}
    return {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec}


def init(name: str, **more: Any) -> Object:
    """An init container."""
    return {"name": name, "image": "i", **more}


def made(name: str, state: State = State.RUNNING, **more: Any) -> Container:
    """An attempt of a container in the sandbox."""
    known = podspec.container_hash({"name": name, "image": "i"})
    return Container(**{"id": f"id-{name}", "name": name, "sandbox": "s0", "state": state, "hash": known, **more})


def runs(*containers: Container, sandbox: Sandbox | None = SANDBOX) -> PodRuntime:
    """A pod as it runs."""
    return PodRuntime(uid="u", sandboxes=(sandbox,) if sandbox else (), containers=containers)


def decide(obj: Object, runtime: PodRuntime, **probed: Any) -> Actions:
    """The decision."""
    return lifecycle.decide(obj, runtime, Probed(**probed))


def test_a_new_pod_gets_a_sandbox_and_its_containers() -> None:
    """Nothing runs: one sandbox, then every container."""
    actions = decide(pod(names=("a", "b")), runs(sandbox=None))
    assert (actions.create_sandbox, actions.attempt, actions.start) == (True, 0, ["a", "b"])
    assert not actions.kill_pod


def test_init_containers_come_first_and_one_by_one() -> None:
    """The next init container starts when the one before has succeeded; ordinary ones after the last."""
    obj = pod(inits=(init("one"), init("two")))
    assert decide(obj, runs(sandbox=None)).start == ["one"]
    assert decide(obj, runs(made("one"))).start == []
    done = made("one", State.EXITED)
    assert decide(obj, runs(done)).start == ["two"]
    assert decide(obj, runs(done, made("two", State.EXITED))).start == ["c"]


def test_a_failed_init_container() -> None:
    """It runs again, unless the policy is Never: then the pod is stopped."""
    failed = made("one", State.EXITED, exit_code=1)
    assert decide(pod(inits=(init("one"),)), runs(failed)).start == ["one"]
    stopped = decide(pod(policy="Never", inits=(init("one"),)), runs(failed))
    assert stopped.kill_pod and not stopped.start


def test_init_containers_that_were_removed_are_not_run_again() -> None:
    """An ordinary container that exists proves that they are done."""
    assert not decide(pod(inits=(init("one"),)), runs(made("c")))


def test_a_sidecar_lets_the_others_go_on_once_it_has_started() -> None:
    """It counts as done when started, is restarted whenever it ends, and does not keep a finished pod alive."""
    obj = pod(policy="Never", inits=(init("side", restartPolicy="Always"),))
    side = made("side")
    assert decide(obj, runs(side), started=lambda one: False).start == []
    assert decide(obj, runs(side)).start == ["c"]
    ended = replace(side, state=State.EXITED)
    assert decide(obj, runs(ended, made("c"))).start == ["side"]
    finished = decide(obj, runs(side, made("c", State.EXITED)))
    assert finished.kill_pod and not finished.start


def test_restart_policies() -> None:
    """Always restarts all, OnFailure what failed, Never nothing; with nothing left the pod is stopped."""
    good, bad = made("c", State.EXITED), made("c", State.EXITED, exit_code=1)
    assert decide(pod(policy="Always"), runs(good)).start == ["c"]
    assert decide(pod(policy="OnFailure"), runs(bad)).start == ["c"]
    assert decide(pod(policy="OnFailure"), runs(good)).kill_pod
    assert decide(pod(policy="Never"), runs(bad)).kill_pod


def test_rules_of_one_container_come_before_the_policy() -> None:
    """A restart rule for an exit code restarts in a pod that never does."""
    obj = pod(policy="Never")
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    obj["spec"]["containers"][0].update(restartPolicy="Never", restartPolicyRules=[rule])
    assert decide(obj, runs(made("c", State.EXITED, exit_code=42))).start == ["c"]
    assert decide(obj, runs(made("c", State.EXITED, exit_code=1))).kill_pod


def test_a_lost_sandbox_starts_everything_again() -> None:
    """What still runs is stopped first; a finished pod gets no new sandbox."""
    lost = replace(SANDBOX, ready=False)
    actions = decide(pod(), runs(made("c"), sandbox=lost))
    assert (actions.kill_pod, actions.create_sandbox, actions.attempt, actions.start) == (True, True, 1, ["c"])
    assert not decide(pod(policy="Never"), runs(made("c", State.EXITED), sandbox=lost))
    assert not decide(pod(policy="OnFailure"), runs(made("c", State.EXITED), sandbox=lost))


def test_a_changed_image_replaces_the_container() -> None:
    """Whatever the policy."""
    obj = pod(policy="Never")
    obj["spec"]["containers"][0]["image"] = "other"
    actions = decide(obj, runs(made("c")))
    assert [kill.container.name for kill in actions.kill] == ["c"]
    assert actions.start == ["c"]


def test_a_failed_probe_kills_and_restarts_by_policy() -> None:
    """Liveness and startup alike."""
    failed = {"id-c": "liveness"}
    actions = decide(pod(), runs(made("c")), failed=failed)
    assert actions.kill[0].message == "Container c failed liveness probe, will be restarted"
    assert actions.start == ["c"]
    assert decide(pod(policy="Never"), runs(made("c")), failed=failed).kill_pod


def test_nothing_to_do() -> None:
    """A pod that runs as it should needs nothing; host network needs no address."""
    assert not decide(pod(), runs(made("c")))
    obj = pod()
    obj["spec"]["hostNetwork"] = True
    assert not decide(obj, runs(made("c"), sandbox=replace(SANDBOX, ips=())))
