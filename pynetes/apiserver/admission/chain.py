"""The admission plugins, in the one order in which they run."""

from collections.abc import Sequence

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
        self._admitting = [each.admit for each in self.plugins if type(each).admit is not Policy.admit]
        self._validating = [each.validate for each in self.plugins if type(each).validate is not Policy.validate]

    async def admit(self, attributes: Attributes) -> None:
        """Before validation: plugins may change attributes.obj."""
        for admit in self._admitting:
            await admit(self.ctx, attributes)

    async def validate(self, attributes: Attributes) -> None:
        """After validation: plugins may only refuse."""
        for validate in self._validating:
            await validate(self.ctx, attributes)
