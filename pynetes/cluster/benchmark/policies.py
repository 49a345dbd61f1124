"""Section 5: who may what, how pods run, networks, Secrets; judged on what the cluster holds, users' objects too."""

from collections.abc import Callable, Iterable

from pynetes.cluster.benchmark import Control, Verdict, holds, no, refused
from pynetes.cluster.benchmark.facts import Facts
from pynetes.machinery.meta import Object

#: Upstream's own roles and bindings carry this label; kubeadm's and ours begin with these names.
BOOTSTRAP = "kubernetes.io/bootstrapping"
SYSTEM = ("system:", "kubeadm:", "pynetes:")
#: The namespaces whose pods are the system itself.
OWN = ("kube-system", "kube-public", "kube-node-lease")


def _own(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return BOOTSTRAP in labels or obj["metadata"]["name"].startswith(SYSTEM) or obj["metadata"].get("namespace") in OWN


def granted(what: str, matches: Callable[[Object], bool]) -> Callable[[Facts], Verdict]:
    """Nobody but the system's own roles, and those of its add-ons, has such a rule by a role that is bound."""

    def judge(facts: Facts) -> Verdict:
        bound = {
            (binding["roleRef"]["kind"], binding["metadata"].get("namespace", ""), binding["roleRef"]["name"])
            for kind in ("clusterrolebindings", "rolebindings")
            for binding in facts.objects[kind]
            if not _only_system(binding)
        }
        names = {(kind, name) for kind, _, name in bound}
        found = [
            role["metadata"]["name"]
            for kind, plural in (("ClusterRole", "clusterroles"), ("Role", "roles"))
            for role in facts.objects[plural]
            if (kind, role["metadata"]["name"]) in names and any(map(matches, role.get("rules") or ()))
        ]
        return holds(when=not found, seen=f"roles beyond the system's that {what}: {sorted(set(found)) or 'none'}")

    return judge


def _only_system(binding: Object) -> bool:
    """Whether all its subjects are components, nodes, administrators, or ServiceAccounts of the system's namespaces."""
    return all(
        subject.get("namespace") in OWN if subject["kind"] == "ServiceAccount" else subject["name"].startswith(SYSTEM)
        for subject in binding.get("subjects") or ()
    )


def rule(resources: Iterable[str], verbs: Iterable[str], group: str = "") -> Callable[[Object], bool]:
    """Whether a rule gives one of these verbs on one of these resources."""
    wanted, may = {*resources, "*"}, {*verbs, "*"}

    def matches(given: Object) -> bool:
        groups = given.get("apiGroups") or ()
        return (
            (group in groups or "*" in groups)
            and not wanted.isdisjoint(given.get("resources") or ())
            and not may.isdisjoint(given.get("verbs") or ())
        )

    return matches


def _wildcard(given: Object) -> bool:
    return any("*" in (given.get(part) or ()) for part in ("apiGroups", "resources", "verbs"))


def _masters(facts: Facts) -> Verdict:
    found = [
        binding["metadata"]["name"]
        for binding in facts.objects["clusterrolebindings"]
        if any(subject["name"] == "system:masters" for subject in binding.get("subjects") or ()) and not _own(binding)
    ]
    return holds(when=not found, seen="only super-admin.conf is in it; admin.conf is bound to cluster-admin by RBAC")


def _cluster_admin(facts: Facts) -> Verdict:
    found = [
        binding["metadata"]["name"]
        for binding in facts.objects["clusterrolebindings"]
        if binding["roleRef"]["name"] == "cluster-admin" and not _only_system(binding)
    ]
    return holds(when=not found, seen=f"bindings beyond the administrators': {found or 'none'}")


def _default_accounts(facts: Facts) -> Verdict:
    users = {
        (pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in facts.objects["pods"]
        if pod["spec"].get("serviceAccountName", "default") == "default" and pod["metadata"]["namespace"] in OWN
    }
    bound = [
        binding["metadata"]["name"]
        for kind in ("clusterrolebindings", "rolebindings")
        for binding in facts.objects[kind]
        if any(each["kind"] == "ServiceAccount" and each["name"] == "default" for each in binding.get("subjects") or ())
    ]
    return holds(
        when=not users and not bound, seen=f"rights of default accounts: {bound or 'none'}; pods of the system: none"
    )


def pods_without(what: str, bad: Callable[[Object], bool]) -> Callable[[Facts], Verdict]:
    """No pod outside the system's namespaces does this."""

    def judge(facts: Facts) -> Verdict:
        found = [
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in facts.objects["pods"]
            if pod["metadata"]["namespace"] not in OWN and bad(pod["spec"])
        ]
        return holds(when=not found, seen=f"users' pods that {what}: {found or 'none'}")

    return judge


def in_containers(bad: Callable[[Object], bool]) -> Callable[[Object], bool]:
    """Whether one of a pod's containers is so."""
    return lambda spec: any(bad(each) for each in (*(spec.get("initContainers") or ()), *spec["containers"]))


def _added(container: Object) -> bool:
    return bool(((container.get("securityContext") or {}).get("capabilities") or {}).get("add"))


def _security(facts: Facts) -> Verdict:
    disabled = facts.flag("apiserver", "disable-admission-plugins")
    return holds(when="PodSecurity" not in disabled, seen="PodSecurity admission is on; namespaces choose by label")


def _network(facts: Facts) -> Verdict:
    proxies = facts.named("kube-proxy")
    good = [name for name in proxies if facts.flag(name, "network-policy")]
    return holds(when=bool(proxies) and good == proxies, seen=f"enforced with nftables by {', '.join(good)}")


def _default_namespace(facts: Facts) -> Verdict:
    found = [pod["metadata"]["name"] for pod in facts.objects["pods"] if pod["metadata"]["namespace"] == "default"]
    return holds(when=not found, seen=f"pods in default: {found or 'none'}")


def _secrets_in_environment(container: Object) -> bool:
    by_name = any(((each.get("valueFrom") or {}).get("secretKeyRef")) for each in container.get("env") or ())
    return by_name or any(each.get("secretRef") for each in container.get("envFrom") or ())


_CREATE = ("create",)
_THEIRS = "for whoever runs pods here: label the namespace, and PodSecurity refuses them"
CONTROLS = (
    Control("5.1.1", "cluster-admin only where it must be", _cluster_admin),
    Control("5.1.2", "few read Secrets", granted("read Secrets", rule(["secrets"], ["get", "list", "watch"]))),
    Control("5.1.3", "no wildcards in roles", granted("use wildcards", _wildcard)),
    Control("5.1.4", "few make pods", granted("make pods", rule(["pods"], _CREATE))),
    Control("5.1.5", "nobody relies on default ServiceAccounts", _default_accounts),
    Control("5.1.6", "tokens only where they are needed", refused("users decide; add-ons that need none mount none")),
    Control("5.1.7", "nobody is in system:masters for every day", _masters),
    Control(
        "5.1.8", "few may bind, impersonate, escalate", granted("may", rule(["*"], ["bind", "impersonate", "escalate"]))
    ),
    Control("5.1.9", "few make volumes", granted("make volumes", rule(["persistentvolumes"], _CREATE))),
    Control("5.1.10", "few reach nodes/proxy", granted("reach nodes/proxy", rule(["nodes/proxy"], ["get", "create"]))),
    Control(
        "5.1.11",
        "few approve certificates",
        granted("approve", rule(["certificatesigningrequests/approval"], ["update", "patch"], "certificates.k8s.io")),
    ),
    Control(
        "5.1.12",
        "few configure webhooks",
        granted(
            "configure webhooks",
            rule(
                ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
                ["create", "update", "patch"],
                "admissionregistration.k8s.io",
            ),
        ),
    ),
    Control("5.1.13", "few make tokens", granted("make tokens", rule(["serviceaccounts/token"], _CREATE))),
    Control("5.2.1", "something judges pods", _security),
    Control(
        "5.2.2",
        "no privileged containers",
        pods_without(
            "are privileged", in_containers(lambda c: bool((c.get("securityContext") or {}).get("privileged")))
        ),
    ),
    Control(
        "5.2.3", "no pods in the node's process namespace", pods_without("use it", lambda s: bool(s.get("hostPID")))
    ),
    Control("5.2.4", "no pods in the node's IPC namespace", pods_without("use it", lambda s: bool(s.get("hostIPC")))),
    Control("5.2.5", "no pods in the node's network", pods_without("use it", lambda s: bool(s.get("hostNetwork")))),
    Control("5.2.6", "no privilege escalation", refused(_THEIRS)),
    Control("5.2.7", "no containers of root's", refused(_THEIRS)),
    Control("5.2.8", "no capability NET_RAW", refused(_THEIRS)),
    Control("5.2.9", "no added capabilities", pods_without("add some", in_containers(_added))),
    Control("5.2.10", "no capabilities at all", refused(_THEIRS)),
    Control("5.2.11", "no Windows host processes", no("nodes run Linux")),
    Control(
        "5.2.12",
        "no volumes of the node's paths",
        pods_without("have some", lambda s: any(v.get("hostPath") for v in s.get("volumes") or ())),
    ),
    Control(
        "5.2.13",
        "no ports of the node's",
        pods_without("use some", in_containers(lambda c: any(p.get("hostPort") for p in c.get("ports") or ()))),
    ),
    Control("5.3.1", "network policies are enforced", _network),
    Control("5.3.2", "every namespace has one", refused("users decide; without one every pod reaches every other")),
    Control(
        "5.4.1",
        "Secrets are files, not environment",
        pods_without("put Secrets into the environment", in_containers(_secrets_in_environment)),
    ),
    Control("5.4.2", "Secrets are kept elsewhere", refused("encrypted in etcd; KMS v2 keeps the key elsewhere")),
    Control("5.5.1", "images are vouched for", refused("validating webhooks and policies can ask for it")),
    Control("5.7.1", "namespaces separate what is separate", refused("users decide")),
    Control(
        "5.7.2",
        "pods run with seccomp",
        lambda facts: holds(
            when=all(config.get("seccompDefault") is True for config in facts.kubelets.values()),
            seen="every kubelet gives the runtime's profile to whoever names none",
        ),
    ),
    Control("5.7.3", "pods have security contexts", refused(_THEIRS)),
    Control("5.7.4", "the default namespace is not used", _default_namespace),
)
