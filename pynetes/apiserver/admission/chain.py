"""The admission plugins, in the one order in which they run."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeAlias

from pynetes.apiserver.admission.attributes import Attributes, Plugin, Policy
from pynetes.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from pynetes.apiserver.admission.default_ingress_class import DefaultIngressClass
from pynetes.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from pynetes.apiserver.admission.deny_service_external_ips import DenyServiceExternalIPs
from pynetes.apiserver.admission.limit_ranger import LimitRanger
from pynetes.apiserver.admission.mutating_admission_policy import MutatingAdmissionPolicy
from pynetes.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from pynetes.apiserver.admission.node_restriction import NodeRestriction
from pynetes.apiserver.admission.pod_security import PodSecurity
from pynetes.apiserver.admission.priority import Priority
from pynetes.apiserver.admission.resource_quota import ResourceQuota
from pynetes.apiserver.admission.runtime_class import RuntimeClass
from pynetes.apiserver.admission.service_account import ServiceAccount
from pynetes.apiserver.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from pynetes.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from pynetes.apiserver.admission.validating_admission_policy import ValidatingAdmissionPolicy
from pynetes.apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from pynetes.apiserver.objects import Context
from pynetes.component.metrics import REGISTRY, Spread
from pynetes.machinery.resource import Resource

_PLUGIN_SECONDS = REGISTRY.histogram(
    "apiserver_admission_controller_admission_duration_seconds",
    "Admission controller latency histogram in seconds, identified by name and broken out for each operation and API "
    "resource and type (validate or admit).",
    "name", "operation", "rejected", "type", buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5),
)  # fmt: skip
_STEP_SECONDS = REGISTRY.histogram(
    "apiserver_admission_step_admission_duration_seconds",
    "Admission sub-step latency histogram in seconds, broken out for each operation and step type (validate or admit).",
    "operation", "rejected", "type", buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5),
)  # fmt: skip
#: Order matters: what fills in comes before what counts, and quota comes last because it charges.
ORDER: tuple[type[Plugin], ...] = (
    NamespaceLifecycle,
    LimitRanger,
    ServiceAccount,
    NodeRestriction,
    DenyServiceExternalIPs,
    TaintNodesByCondition,
    PodSecurity,
    Priority,
    DefaultTolerationSeconds,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    PersistentVolumeClaimResize,
    RuntimeClass,
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
    ResourceQuota,
)
#: admit or validate of a plugin.
Step: TypeAlias = Callable[[Context, Attributes], Awaitable[None]]
#: What is called, under which name, where its seconds are noted, and what of there must be some for it.
Timed: TypeAlias = list[tuple[str, Step, Spread, Resource | None]]
#: Runs only where --enable-admission-plugins names it.
OPTIONAL = (NodeRestriction, DenyServiceExternalIPs)


def plugins(enable: Sequence[str] = (), disable: Sequence[str] = ()) -> tuple[Plugin, ...]:
    """The plugins that the flags choose, in order. Raises ValueError on an unknown name."""
    known = {kind.name for kind in ORDER}
    for name in (*enable, *disable):
        if name not in known:
            raise ValueError(f"unknown admission plugin {name!r}; known are {', '.join(sorted(known))}")
    chosen = [kind for kind in ORDER if kind.name not in disable and (kind not in OPTIONAL or kind.name in enable)]
    return tuple(kind() for kind in chosen)


class Chain:
    """Runs plugins in order; the first StatusError ends the request."""

    def __init__(self, ctx: Context, chosen: Sequence[Plugin] | None = None) -> None:
        self.ctx = ctx
        self.plugins = plugins() if chosen is None else chosen
        # A write passes all of them twice, and most have something to say at one of the two only.
        self._steps = {
            "admit": [(p, p.admit, p.admits) for p in self.plugins if type(p).admit is not Policy.admit],
            "validate": [(p, p.validate, p.validates) for p in self.plugins if type(p).validate is not Policy.validate],
        }
        self._timed: dict[tuple[str, str, Resource], Timed] = {}

    async def admit(self, attributes: Attributes) -> None:
        """Before validation: plugins may change attributes.obj."""
        await self._run("admit", attributes)
        if attributes.again is not None and attributes.again.wanted:
            # A webhook has changed the object: what comes before it looks at it once more.
            attributes.again.running = True
            await self._run("admit", attributes)

    async def validate(self, attributes: Attributes) -> None:
        """After validation: plugins may only refuse."""
        await self._run("validate", attributes)

    async def _run(self, step: str, attributes: Attributes) -> None:
        operation, resource = attributes.operation, attributes.resource
        timed = self._timed.get((step, operation, resource))
        if timed is None:
            timed = self._timed[step, operation, resource] = [
                (plugin.name, judge, _PLUGIN_SECONDS.labels(plugin.name, operation, "false", step), plugin.rules)
                for plugin, judge, kinds in self._steps[step]
                if kinds is None or (resource.group, resource.plural) in kinds
            ]
        count = self.ctx.objects.count
        began = at = perf_counter()
        refused = ""
        try:
            for name, judge, seconds, rules in timed:
                if rules is not None and not count(rules):
                    # In most clusters there are no webhooks, policies, quotas and limits.
                    seconds.observe(0.0)
                    continue
                refused = name
                await judge(self.ctx, attributes)
                now = perf_counter()
                seconds.observe(now - at)
                at = now
            refused = ""
        finally:
            if refused:
                _PLUGIN_SECONDS.observe(perf_counter() - at, refused, operation, "true", step)
            _STEP_SECONDS.observe(perf_counter() - began, operation, "true" if refused else "false", step)
