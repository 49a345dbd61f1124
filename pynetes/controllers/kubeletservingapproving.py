"""Approves kubelets' requests for serving certificates, for the names and addresses that each node is known to have.

Upstream leaves this to whoever runs the cluster, since nobody there knows which addresses are a node's: what a Node
object says of its addresses was written by the kubelet itself, and a stolen one would call itself by another's. Here
whoever made the nodes writes down their addresses (--kubelet-serving-nodes), and nothing beyond them is approved.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _requests as asked
from pynetes.controllers._config import Config
from pynetes.machinery.meta import Key, Object

MESSAGE = "Auto approving kubelet serving certificate for the names and addresses the node was made with."


def refusal(csr: Object, wanted: asked.Wanted, known: Mapping[str, Collection[str]]) -> str:
    """Why it is left to a person; "" when it may be approved."""
    if wrong := asked.problem(csr, wanted):
        return wrong
    if csr["spec"].get("username") != wanted.common_name:
        return f"{csr['spec'].get('username')} asks for {wanted.common_name}"
    node = wanted.common_name.removeprefix(asked.NODE_PREFIX)
    if node not in known:
        return f"the node {node} is not known"
    foreign = sorted({*wanted.dns, *wanted.addresses} - set(known[node]))
    return f"not names of {node}: {', '.join(foreign)}" if foreign else ""


def controller(config: Config) -> Controller | None:
    """The approver; None where nobody says which addresses are whose."""
    if config.kubelet_names is None:
        return None
    names = config.kubelet_names

    async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
        csr = await ctx.cached(requests.RESOURCE, key)
        if csr is None or csr["spec"]["signerName"] != asked.KUBELET_SERVING:
            return None
        if asked.has(csr, "Approved") or asked.has(csr, "Denied"):
            return None
        try:
            wanted = asked.read(csr)
        except ValueError:
            return None  # the signer says what is wrong, should somebody approve it
        if why := refusal(csr, wanted, names()):
            ctx.event(csr, "Warning", "NotApproved", why)
            return None
        told = (csr.get("status") or {}).get("conditions") or ()
        told = conditions.put(told, "Approved", "True", "AutoApproved", MESSAGE, ctx.now(), lastUpdateTime="")
        approved = csr | {"status": (csr.get("status") or {}) | {"conditions": told}}
        await ctx.client.update(requests.RESOURCE, approved, subresource="approval")
        return None

    return Controller(
        name="kubelet-serving-approving-controller",
        service_account="kubelet-serving-approver",
        reconcile=reconcile,
        watches=(Watch(requests.RESOURCE),),
        rules=(
            Rule("certificatesigningrequests.certificates.k8s.io", "get,list,watch"),
            Rule("certificatesigningrequests.certificates.k8s.io/approval", "update"),
            Rule("signers.certificates.k8s.io", "approve"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
