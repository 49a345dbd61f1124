"""Without a cloud, says on a Service of type LoadBalancer why it stays pending, and what would change that.

With a cloud, the cloud controller manager's controller of the same name serves it (pynetes/cloud). The word comes late
enough for another implementation, such as one that announces addresses on the local network, to have served it.
"""

from datetime import timedelta

from pynetes.apis.core import services
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers._config import Config
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, is_deleting

#: How long others have to serve a new Service.
PATIENCE = timedelta(seconds=5)
TEXT = (
    "No load balancer will be made: this cluster has no cloud. Use the Service's node ports, "
    "or start the cluster with `pynetes up --cloud local`"
)


def is_pending(service: Object) -> bool:
    """Whether it waits for a balancer that nobody in particular was asked to make."""
    spec = service["spec"]
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return (
        spec.get("type") == "LoadBalancer"
        and not spec.get("loadBalancerClass")
        and not ingress
        and not is_deleting(service)
    )


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    service = await ctx.cached(services.RESOURCE, key)
    if service is None or not is_pending(service):
        return None
    left = time.parse(service["metadata"]["creationTimestamp"]) + PATIENCE - ctx.now()
    if left > timedelta():
        return left
    ctx.event(service, "Warning", "NoLoadBalancer", TEXT)
    return None


def controller(config: Config) -> Controller | None:
    """The controller; None where a cloud controller manager looks after Services."""
    if config.cloud_provider:
        return None
    return Controller(
        name="service-lb-controller",
        service_account="service-controller",
        reconcile=reconcile,
        watches=(Watch(services.RESOURCE),),
        workers=1,
        rules=(
            Rule("services", "get,list,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
