"""What the benchmark does not ask and a hardened cluster has: numbers beginning with P are our own."""

from datetime import UTC, datetime, timedelta

from pynetes.cluster.benchmark import Control, Verdict, holds
from pynetes.cluster.benchmark.facts import Facts
from pynetes.pki import inventory

#: Certificates end no sooner than this: `status` warns then, and `up` renews.
LEFT = timedelta(days=30)
#: What each process may show to others than its own machine, by port; None: any, as all it has there is health, or
#: metrics over TLS, which `plain` sees.
SHOWN: dict[str, set[int] | None] = {
    "kubelet": {10250},
    "kube-proxy": None,
    "controller-manager": {10257},
    "scheduler": {10259},
    "metrics-guard": None,
}
_ENCRYPTED = b"k8s:enc:"


def _no_old_versions(facts: Facts) -> Verdict:
    took = [name for name, old in facts.outdated.items() if old]
    seen = f"taken by {', '.join(took)}" if took else f"refused by {', '.join(facts.outdated)}"
    return holds(when=bool(facts.outdated) and not took, seen=f"TLS 1.0 and 1.1 {seen}")


def _etcd_refuses(facts: Facts) -> Verdict:
    wrong = [str(one.seen) for one in facts.handshakes if not one.passed]
    shown = [f"{one.seen.case}: {one.seen.check or 'accepted'}" for one in facts.handshakes]
    return holds(when=bool(shown) and not wrong, seen="; ".join(wrong or shown))


def _listeners(facts: Facts) -> Verdict:
    strange = []
    for process, where in facts.listening.items():
        allowed = next((ports for name, ports in SHOWN.items() if process.startswith(name)), set())
        for each in where:
            port = int(each.rpartition(":")[2])
            own = port == facts.cluster.secure_port and process.startswith("apiserver")
            if allowed is not None and port not in allowed and not own:
                strange.append(f"{process} at {each}")
    strange += [f"{name} without TLS" for name, open_ in facts.plain.items() if open_]
    shown = [f"{name} {' '.join(where)}" for name, where in facts.listening.items() if where]
    return holds(when=bool(shown) and not strange, seen=", ".join(strange or shown))


def _time_left(facts: Facts) -> Verdict:
    now = datetime.now(UTC)
    found = list(inventory.of(facts.layout))
    # Kubelets renew theirs by themselves, and may be in the middle of it.
    soon = [f"{each.name} ({each.residual(now)})" for each in found if each.expires - now < LEFT and not each.requested]
    return holds(when=bool(found) and not soon, seen=", ".join(soon) or f"{len(found)} certificates")


def _encrypted(facts: Facts) -> Verdict:
    plain = [key for key, begins in facts.stored.items() if not begins.startswith(_ENCRYPTED)]
    return holds(when=not plain, seen=", ".join(plain) or f"{len(facts.stored)} Secrets in etcd begin with k8s:enc:")


CONTROLS = (
    Control("P.1", "no listener takes TLS below 1.2", _no_old_versions),
    Control("P.2", "etcd refuses whoever is no client of its own authority", _etcd_refuses),
    Control("P.3", "nothing but TLS and health is shown to other machines", _listeners),
    Control("P.4", "no certificate ends within a month", _time_left),
    Control("P.5", "every Secret is encrypted where it lies", _encrypted),
)
