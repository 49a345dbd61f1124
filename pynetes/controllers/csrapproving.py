"""Approves kubelets' requests for client certificates, where RBAC allows them to ask."""

from datetime import timedelta

from pynetes.apis.authorization import subjectaccessreviews
from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _requests as asked
from pynetes.machinery.meta import Key, Object


def permissions(csr: Object, wanted: asked.Wanted) -> list[tuple[str, str]]:
    """The subresources on which the requester may have the right, with the message of the approval."""
    own = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")
    first = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")
    return [own, first] if csr["spec"].get("username") == wanted.common_name else [first]


def review(csr: Object, subresource: str) -> Object:
    """The question whether the requester may create this subresource."""
    spec = csr["spec"]
    attributes = {
        "group": "certificates.k8s.io",
        "resource": "certificatesigningrequests",
        "subresource": subresource,
        "verb": "create",
        "version": "*",
    }
    user = {
        "user": spec.get("username"),
        "uid": spec.get("uid"),
        "groups": spec.get("groups"),
        "extra": spec.get("extra"),
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {name: value for name, value in user.items() if value} | {"resourceAttributes": attributes},
    }


async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
    csr = await ctx.cached(requests.RESOURCE, key)
    if csr is None or csr["spec"]["signerName"] != asked.KUBELET_CLIENT:
        return None
    if (csr.get("status") or {}).get("certificate") or asked.has(csr, "Approved") or asked.has(csr, "Denied"):
        return None
    try:
        wanted = asked.read(csr)
    except ValueError:
        return None  # the signer says what is wrong, should somebody approve it
    if asked.problem(csr, wanted):
        return None
    for subresource, message in permissions(csr, wanted):
        answer = await ctx.create(subjectaccessreviews.RESOURCE, review(csr, subresource))
        if answer["status"].get("allowed"):
            told = (csr.get("status") or {}).get("conditions") or ()
            told = conditions.put(told, "Approved", "True", "AutoApproved", message, ctx.now(), lastUpdateTime="")
            approved = csr | {"status": (csr.get("status") or {}) | {"conditions": told}}
            await ctx.client.update(requests.RESOURCE, approved, subresource="approval")
            return None
    return None


CONTROLLER = Controller(
    name="certificatesigningrequest-approving-controller",
    service_account="certificate-controller",
    reconcile=reconcile,
    watches=(Watch(requests.RESOURCE),),
    rules=(
        Rule("certificatesigningrequests.certificates.k8s.io", "delete,get,list,watch"),
        Rule("certificatesigningrequests.certificates.k8s.io/approval", "update"),
        Rule("signers.certificates.k8s.io", "approve"),
        Rule("subjectaccessreviews.authorization.k8s.io", "create"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
