"""Sections 1 to 3: files of the control plane, API server, controller manager, scheduler, etcd, who logs in, audit."""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from pynetes.cluster.benchmark import Control, Verdict, holds, no, refused
from pynetes.cluster.benchmark.facts import Facts

API, MANAGER, SCHEDULER, ETCD = "apiserver", "controller-manager", "scheduler", "etcd"
Judge = Callable[[Facts], Verdict]


def modes(paths: Callable[[Facts], Iterable[Path]], most: int) -> Judge:
    """No file among these gives more than `most`."""

    def judge(facts: Facts) -> Verdict:
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in paths(facts)}
        loose = [f"{path} is {mode:04o}" for path, mode in found.items() if mode & ~most]
        return holds(when=bool(found) and not loose, seen=", ".join(loose) or _shown(found, f"at most {most:04o}"))

    return judge


def owned(paths: Callable[[Facts], Iterable[Path]]) -> Judge:
    """All of these are root's."""

    def judge(facts: Facts) -> Verdict:
        found = list(paths(facts))
        others = [str(path) for path in found if (path.stat().st_uid, path.stat().st_gid) != (0, 0)]
        return holds(when=bool(found) and not others, seen=", ".join(others) or _shown(found, "root:root"))

    return judge


def _shown(paths: Iterable[Path], what: str) -> str:
    listed = list(paths)
    return f"{listed[0]}{f' and {len(listed) - 1} more' if len(listed) > 1 else ''}: {what}" if listed else "no file"


def state(*names: str) -> Callable[[Facts], list[Path]]:
    """Files below the cluster's directory."""
    return lambda facts: [facts.cluster.state / name for name in names]


def given(process: str, *flags: str) -> Judge:
    """All of these flags are set, and what they name is there."""

    def judge(facts: Facts) -> Verdict:
        found = {flag: facts.flag(process, flag) for flag in flags}
        missing = [f"--{flag} is not set" for flag, value in found.items() if not value]
        missing += [
            f"{value} is not there" for value in found.values() if value[:1] == "/" and not Path(value).exists()
        ]
        return holds(when=not missing, seen=", ".join(missing or (f"--{k}={v}" for k, v in found.items())))

    return judge


def absent(process: str, flag: str) -> Judge:
    """The flag is not set."""
    return lambda facts: holds(when=not facts.flag(process, flag), seen=f"--{flag}={facts.flag(process, flag)!r}")


def equal(process: str, flag: str, *values: str) -> Judge:
    """The flag is one of these values."""
    return lambda facts: holds(when=facts.flag(process, flag) in values, seen=f"--{flag}={facts.flag(process, flag)}")


def at_least(process: str, flag: str, least: int) -> Judge:
    """The flag is a number that large."""
    return lambda facts: holds(
        when=int(facts.flag(process, flag) or 0) >= least, seen=f"--{flag}={facts.flag(process, flag)}"
    )


def modes_include(*wanted: str, never: str = "") -> Judge:
    """What --authorization-mode has."""

    def judge(facts: Facts) -> Verdict:
        found = facts.flag(API, "authorization-mode").split(",")
        return holds(when=set(wanted) <= set(found) and never not in found, seen=f"--authorization-mode={found}")

    return judge


def admission(name: str, *, on: bool = True) -> Judge:
    """Whether an admission plugin works: the default ones do unless they are switched off."""

    def judge(facts: Facts) -> Verdict:
        enabled = facts.flag(API, "enable-admission-plugins").split(",")
        disabled = facts.flag(API, "disable-admission-plugins").split(",")
        works = name in enabled or (name in DEFAULT and name not in disabled)
        return holds(when=works == on, seen=f"{name} is {'on' if works else 'off'}")

    return judge


#: Those of the plugins named here that need no flag.
DEFAULT = ("ServiceAccount", "NamespaceLifecycle", "PodSecurity")


def _anonymous(facts: Facts) -> Verdict:
    seen = facts.anonymous
    return holds(when=seen["/api"] == 401 and seen["/metrics"] == 401, seen=f"without credentials: {seen}")


def _no_profile(process: str) -> Judge:
    return lambda facts: holds(
        when=facts.profiling[process] in (403, 404),
        seen=f"GET /debug/pprof/ as administrator: {facts.profiling[process]}",
    )


def ciphers(prefix: str) -> Judge:
    """No listener with such a name takes a weak cipher."""

    def judge(facts: Facts) -> Verdict:
        found = {name: took for name, took in facts.weak.items() if name.startswith(prefix)}
        text = "refuses at the handshake what has no forward secrecy or uses CBC"
        return holds(when=bool(found) and not any(found.values()), seen=f"{', '.join(found)}: {text}")

    return judge


def _providers(facts: Facts) -> Verdict:
    document = yaml.safe_load(Path(facts.flag(API, "encryption-provider-config")).read_bytes())
    first = {
        resource: next(iter(entry["providers"][0]))
        for entry in document["resources"]
        for resource in entry["resources"]
    }
    return holds(when=first.get("secrets") in ("aesgcm", "secretbox", "kms"), seen=f"first providers: {first}")


def _own_authority(facts: Facts) -> Verdict:
    etcd, cluster = (facts.layout.pair(stem).certificate.read_bytes() for stem in ("etcd/ca", "ca"))
    trusted = facts.flag(ETCD, "trusted-ca-file")
    return holds(when=etcd != cluster and trusted.endswith("pki/etcd/ca.crt"), seen=f"etcd trusts {trusted} alone")


def _no_tokens_left(facts: Facts) -> Verdict:
    left = [
        secret["metadata"]["name"]
        for secret in facts.objects["secrets"]
        if secret.get("type") == "bootstrap.kubernetes.io/token"
    ]
    return holds(when=not left, seen=f"bootstrap tokens: {left or 'none'}")


def _policy(facts: Facts) -> Verdict:
    rules = yaml.safe_load(Path(facts.flag(API, "audit-policy-file")).read_bytes())["rules"]
    return holds(when=bool(rules), seen=f"{len(rules)} rules in {facts.flag(API, 'audit-policy-file')}")


def _policy_covers(facts: Facts) -> Verdict:
    rules = yaml.safe_load(Path(facts.flag(API, "audit-policy-file")).read_bytes())["rules"]
    secret = [r for r in rules if any("secrets" in (x.get("resources") or ()) for x in r.get("resources") or ())]
    bodies = [r for r in secret if r["level"] not in ("None", "Metadata")]
    rest = rules[-1]["level"] != "None" and set(rules[-1]) == {"level"}
    return holds(
        when=bool(secret) and not bodies and rest, seen="Secrets by metadata only, and everything that no rule names"
    )


def _keys(facts: Facts) -> list[Path]:
    return sorted(facts.layout.pki.rglob("*.key"))


def _certificates(facts: Facts) -> list[Path]:
    return sorted(facts.layout.pki.rglob("*.crt"))


def _pki(facts: Facts) -> list[Path]:
    return [facts.layout.pki, *sorted(facts.layout.pki.rglob("*"))]


def _processes(facts: Facts) -> list[Path]:
    return [facts.cluster.run / "processes.json"]


def _cni(facts: Facts) -> list[Path]:
    names = facts.cluster.node_names()
    return [path for name in names for path in facts.cluster.containerd(name).cni_conf_dir.glob("*")]


_SPEC = "definition of {} (processes.json in the place of a static pod)"
_DEFINED = tuple(
    Control(f"1.1.{number}", f"{_SPEC.format(what)}: {aspect}", judge)
    for number, what, aspect, judge in (
        (1, "the API server", "nobody but root writes it", modes(_processes, 0o600)),
        (2, "the API server", "owned by root", owned(_processes)),
        (3, "the controller manager", "nobody but root writes it", modes(_processes, 0o600)),
        (4, "the controller manager", "owned by root", owned(_processes)),
        (5, "the scheduler", "nobody but root writes it", modes(_processes, 0o600)),
        (6, "the scheduler", "owned by root", owned(_processes)),
        (7, "etcd", "nobody but root writes it", modes(_processes, 0o600)),
        (8, "etcd", "owned by root", owned(_processes)),
    )
)
_FILES = (
    Control("1.1.9", "CNI configuration: nobody but root writes it", modes(_cni, 0o600)),
    Control("1.1.10", "CNI configuration: owned by root", owned(_cni)),
    Control("1.1.11", "etcd's data: closed to everybody else", modes(state("etcd"), 0o700)),
    Control(
        "1.1.12", "etcd's data: owned by a user of its own", refused("etcd runs as root, beside the keys that sign")
    ),
    Control("1.1.13", "administrators' kubeconfigs: closed", modes(state("admin.conf", "super-admin.conf"), 0o600)),
    Control("1.1.14", "administrators' kubeconfigs: owned by root", owned(state("admin.conf", "super-admin.conf"))),
    Control("1.1.15", "scheduler's kubeconfig: closed", modes(state("scheduler.conf"), 0o600)),
    Control("1.1.16", "scheduler's kubeconfig: owned by root", owned(state("scheduler.conf"))),
    Control("1.1.17", "controller manager's kubeconfig: closed", modes(state("controller-manager.conf"), 0o600)),
    Control("1.1.18", "controller manager's kubeconfig: owned by root", owned(state("controller-manager.conf"))),
    Control("1.1.19", "the PKI: owned by root", owned(_pki)),
    Control("1.1.20", "certificates: nobody but root writes them", modes(_certificates, 0o644)),
    Control("1.1.21", "keys: closed", modes(_keys, 0o600)),
)
_API = (
    Control("1.2.1", "strangers are refused", _anonymous),
    Control("1.2.2", "no file of static tokens", absent(API, "token-auth-file")),
    Control(
        "1.2.3",
        "externalIPs of Services are refused",
        refused("Services without load balancer need them; plugin DenyServiceExternalIPs is there"),
    ),
    Control(
        "1.2.4", "kubelets are shown a certificate", given(API, "kubelet-client-certificate", "kubelet-client-key")
    ),
    Control("1.2.5", "kubelets' certificates are verified", given(API, "kubelet-certificate-authority")),
    Control("1.2.6", "requests are not simply allowed", modes_include(never="AlwaysAllow")),
    Control("1.2.7", "nodes are authorized by the Node authorizer", modes_include("Node")),
    Control("1.2.8", "RBAC decides", modes_include("RBAC")),
    Control(
        "1.2.9", "floods of events are limited", refused("priority and fairness limits every flow, events among them")
    ),
    Control("1.2.10", "admission does not simply admit", admission("AlwaysAdmit", on=False)),
    Control("1.2.11", "images are pulled anew", refused("the add-ons' images are packed here; no registry has them")),
    Control("1.2.12", "pods get ServiceAccounts", admission("ServiceAccount")),
    Control("1.2.13", "nothing is made in namespaces that are not there", admission("NamespaceLifecycle")),
    Control("1.2.14", "nodes are held to what is theirs", admission("NodeRestriction")),
    Control("1.2.15", "API server: no profiler", _no_profile(API)),
    Control("1.2.16", "requests are recorded", given(API, "audit-log-path")),
    Control("1.2.17", "records are kept for 30 days", at_least(API, "audit-log-maxage", 30)),
    Control("1.2.18", "ten old records are kept", at_least(API, "audit-log-maxbackup", 10)),
    Control("1.2.19", "records are 100 MB long", at_least(API, "audit-log-maxsize", 100)),
    Control(
        "1.2.20",
        "requests end",
        lambda facts: holds(when=facts.flag(API, "request-timeout") != "0", seen="60 s unless a flag says otherwise"),
    ),
    Control("1.2.21", "tokens of deleted ServiceAccounts are refused", no("there is no flag: they always are")),
    Control("1.2.22", "tokens are verified with a key of their own", given(API, "service-account-key-file")),
    Control("1.2.23", "etcd is shown a certificate", given(API, "etcd-certfile", "etcd-keyfile")),
    Control("1.2.24", "API server: serves TLS", given(API, "tls-cert-file", "tls-private-key-file")),
    Control("1.2.25", "clients' certificates are verified", given(API, "client-ca-file")),
    Control("1.2.26", "etcd's certificate is verified", given(API, "etcd-cafile")),
    Control("1.2.27", "Secrets are encrypted in etcd", given(API, "encryption-provider-config")),
    Control("1.2.28", "with an authenticated cipher", _providers),
    Control("1.2.29", "API server: strong ciphers only", ciphers(API)),
)
_OTHERS = (
    Control("1.3.1", "ended pods are removed", given(MANAGER, "terminated-pod-gc-threshold")),
    Control("1.3.2", "controller manager: no profiler", _no_profile(MANAGER)),
    Control(
        "1.3.3", "controllers have ServiceAccounts of their own", given(MANAGER, "use-service-account-credentials")
    ),
    Control("1.3.4", "tokens are signed with a key of their own", given(MANAGER, "service-account-private-key-file")),
    Control("1.3.5", "pods can verify the API server", given(MANAGER, "root-ca-file")),
    Control("1.3.6", "kubelets' serving certificates are renewed", given(MANAGER, "kubelet-serving-nodes")),
    Control("1.3.7", "controller manager: listens on loopback", equal(MANAGER, "bind-address", "127.0.0.1")),
    Control("1.4.1", "scheduler: no profiler", _no_profile(SCHEDULER)),
    Control("1.4.2", "scheduler: listens on loopback", equal(SCHEDULER, "bind-address", "127.0.0.1")),
    Control("2.1", "etcd: serves TLS", given(ETCD, "cert-file", "key-file")),
    Control("2.2", "etcd: demands clients' certificates", given(ETCD, "client-cert-auth", "trusted-ca-file")),
    Control("2.3", "etcd: no certificate of its own making", absent(ETCD, "auto-tls")),
    Control("2.4", "etcd: members speak TLS", given(ETCD, "peer-cert-file", "peer-key-file")),
    Control("2.5", "etcd: members show certificates", given(ETCD, "peer-client-cert-auth", "peer-trusted-ca-file")),
    Control("2.6", "etcd: members make no certificates", absent(ETCD, "peer-auto-tls")),
    Control("2.7", "etcd: an authority of its own", _own_authority),
    Control(
        "3.1.1",
        "people do not log in with certificates",
        refused(
            "admin.conf is a certificate, as kubeadm makes it, bound to cluster-admin by RBAC and so revocable;"
            " issuers of JWTs go into authentication.yaml"
        ),
    ),
    Control("3.1.2", "people do not log in with ServiceAccounts' tokens", no("none is made for people")),
    Control("3.1.3", "people do not log in with bootstrap tokens", _no_tokens_left),
    Control("3.2.1", "there is an audit policy", _policy),
    Control("3.2.2", "it covers what matters and writes no secrets down", _policy_covers),
)
CONTROLS = (*_DEFINED, *_FILES, *_API, *_OTHERS)
