"""Publishes the cluster's CA in every namespace, so that pods can verify the API server they are told of."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from time import perf_counter

from pynetes.apis.core import configmaps, namespaces
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _owned as owned
from pynetes.controllers._config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

NAME = "kube-root-ca.crt"
#: Seconds between looks at the authorities.
LOOK = 2.0
_SYNCS = REGISTRY.counter(
    "root_ca_cert_publisher_sync_total", "Number of namespace syncs happened in root ca cert publisher.", "code"
)
_SYNC_SECONDS = REGISTRY.histogram(
    "root_ca_cert_publisher_sync_duration_seconds",
    "Number of namespace syncs happened in root ca cert publisher.",
    "code",
    buckets=exponential(0.001, 2, 15),
)
_DESCRIPTION = "kubernetes.io/description"
_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def wanted(namespace: str, root_ca: str, there: Object | None) -> Object | None:
    """The ConfigMap to write: new, or what is there corrected; None when it is right."""
    if there is None:
        metadata = {"name": NAME, "namespace": namespace, "annotations": {_DESCRIPTION: _TEXT}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": root_ca}}
    annotations = there["metadata"].get("annotations") or {}
    if there.get("data") == {"ca.crt": root_ca} and annotations.get(_DESCRIPTION):
        return None
    metadata = there["metadata"] | {"annotations": {_DESCRIPTION: _TEXT} | annotations}
    return there | {"data": {"ca.crt": root_ca}, "metadata": metadata}


def of_configmap(_lookup: Lookup, configmap: Object, _old: Object | None) -> Iterator[Key]:
    """Our ConfigMap wakes its namespace, whatever happened to it."""
    if configmap["metadata"]["name"] == NAME:
        yield Key("", configmap["metadata"]["namespace"])


def controller(config: Config) -> Controller | None:
    """The publisher; None when there is no CA to publish."""
    if config.root_ca is None:
        return None
    root_ca = config.root_ca

    async def ticks(ctx: ControllerContext) -> AsyncIterator[Key]:
        """Every namespace, once the authorities have changed."""
        published = root_ca()
        while True:
            await ctx.sleep(LOOK)
            if (found := root_ca()) != published:
                published = found
                for namespace in ctx.listed(namespaces.RESOURCE):
                    yield key_of(namespace)

    async def reconcile(ctx: Context, key: Key) -> timedelta | None:
        began, code = perf_counter(), "500"
        try:
            await publish(ctx, key)
            code = "200"
        except StatusError as error:
            code = str(error.status.get("code") or 500)
            raise
        finally:
            _SYNCS.inc(code)
            _SYNC_SECONDS.observe(perf_counter() - began, code)
        return None

    async def publish(ctx: Context, key: Key) -> None:
        namespace = await ctx.cached(namespaces.RESOURCE, key)
        if namespace is None or is_deleting(namespace):
            return
        there = await ctx.cached(configmaps.RESOURCE, Key(key.name, NAME))
        new = wanted(key.name, root_ca(), there)
        if new is not None and there is not None:
            await ctx.update(configmaps.RESOURCE, new)
        elif new is not None:
            await _create(ctx, new)

    return Controller(
        name="root-ca-certificate-publisher-controller",
        service_account="root-ca-cert-publisher",
        reconcile=reconcile,
        ticks=ticks,
        watches=(
            Watch(namespaces.RESOURCE),
            Watch(configmaps.RESOURCE, keys=of_configmap, field_selector=f"metadata.name={NAME}"),
        ),
        rules=(
            Rule("namespaces,configmaps", "list,watch"),
            Rule("configmaps", "create,update"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )


async def _create(ctx: Context, configmap: Object) -> None:
    try:
        await ctx.create(configmaps.RESOURCE, configmap)
    except StatusError as error:
        if error.reason not in ("AlreadyExists", "NotFound") and not owned.namespace_is_terminating(error):
            raise
