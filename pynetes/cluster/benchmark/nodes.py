"""Section 4: files of the nodes, kubelets, kube-proxy."""

from collections.abc import Callable
from pathlib import Path

from pynetes.cluster.benchmark import Control, Verdict, holds, no, refused
from pynetes.cluster.benchmark.control_plane import ciphers, modes, owned, state
from pynetes.cluster.benchmark.facts import Facts


def everywhere(flag: str, *values: str) -> Callable[[Facts], Verdict]:
    """The flag is one of these values (any, if none is given) on every kubelet."""

    def judge(facts: Facts) -> Verdict:
        found = {name: facts.flag(name, flag) for name in facts.named("kubelet")}
        good = all(value in values if values else value for value in found.values())
        return holds(when=bool(found) and good, seen=f"--{flag}: {found}")

    return judge


def _kubeconfigs(facts: Facts) -> list[Path]:
    return [facts.layout.node(name).kubeconfig("kubelet.conf") for name in facts.cluster.node_names()]


def _authority(facts: Facts) -> list[Path]:
    return [facts.layout.pair("ca").certificate]


def _current(kind: str) -> Callable[[Facts], Verdict]:
    def judge(facts: Facts) -> Verdict:
        names = facts.cluster.node_names()
        found = {name: facts.layout.node(name).pki / f"kubelet-{kind}-current.pem" for name in names}
        missing = [name for name, path in found.items() if not path.exists()]
        return holds(
            when=not missing, seen=f"without one: {missing}" if missing else "got by TLS bootstrap on every node"
        )

    return judge


def _configured(name: str, wanted: Callable[[object], bool]) -> Callable[[Facts], Verdict]:
    def judge(facts: Facts) -> Verdict:
        found = {node: config.get(name) for node, config in facts.kubelets.items()}
        return holds(when=bool(found) and all(map(wanted, found.values())), seen=f"{name}: {found}")

    return judge


def _closed(facts: Facts) -> Verdict:
    return holds(
        when=bool(facts.read_only) and not any(facts.read_only.values()), seen=f"10255 open: {facts.read_only}"
    )


def _proxy_metrics(facts: Facts) -> Verdict:
    found = {name: facts.flag(name, "metrics-bind-address") or "127.0.0.1:10249" for name in facts.named("kube-proxy")}
    return holds(when=all(value.startswith("127.") for value in found.values()), seen=f"{found}")


CONTROLS = (
    Control("4.1.1", "the kubelet's service file: closed", no("kubelets are started by the supervisor")),
    Control("4.1.2", "the kubelet's service file: owned by root", no("kubelets are started by the supervisor")),
    Control("4.1.3", "kube-proxy's kubeconfig: closed", modes(state("kube-proxy.conf"), 0o600)),
    Control("4.1.4", "kube-proxy's kubeconfig: owned by root", owned(state("kube-proxy.conf"))),
    Control("4.1.5", "the kubelet's kubeconfig: closed", modes(_kubeconfigs, 0o600)),
    Control("4.1.6", "the kubelet's kubeconfig: owned by root", owned(_kubeconfigs)),
    Control("4.1.7", "the clients' authority: nobody but root writes it", modes(_authority, 0o644)),
    Control("4.1.8", "the clients' authority: owned by root", owned(_authority)),
    Control("4.1.9", "the kubelet's configuration: closed", no("it is configured by flags")),
    Control("4.1.10", "the kubelet's configuration: owned by root", no("it is configured by flags")),
    Control("4.2.1", "kubelet: strangers are refused", everywhere("anonymous-auth", "false")),
    Control("4.2.2", "kubelet: the API server decides who may", everywhere("authorization-mode", "Webhook")),
    Control("4.2.3", "kubelet: verifies clients' certificates", everywhere("client-ca-file")),
    Control("4.2.4", "kubelet: no port without authentication", _closed),
    Control(
        "4.2.5", "kubelet: idle streams end", no("a stream ends with its connection; there is no other time limit")
    ),
    Control("4.2.6", "kubelet: iptables' chains are kept", no("kube-proxy keeps rules of its own")),
    Control(
        "4.2.7",
        "kubelet: the machine's own name",
        refused("several nodes share a machine, each needs a name of its own"),
    ),
    Control("4.2.8", "kubelet: events are not lost", no("events are aggregated, not limited")),
    Control("4.2.9", "kubelet: a certificate of the cluster's", _current("server")),
    Control("4.2.10", "kubelet: renews its client certificate", everywhere("rotate-certificates", "true")),
    Control("4.2.11", "kubelet: renews its serving certificate", everywhere("rotate-server-certificates", "true")),
    Control("4.2.12", "kubelet: strong ciphers only", ciphers("kubelet-")),
    Control(
        "4.2.13",
        "kubelet: a limit to a pod's processes",
        _configured("podPidsLimit", lambda most: isinstance(most, int) and most > 0),
    ),
    Control("4.2.14", "kubelet: seccomp by default", _configured("seccompDefault", lambda on: on is True)),
    Control("4.3.1", "kube-proxy: metrics on loopback", _proxy_metrics),
)
