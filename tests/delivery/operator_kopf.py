"""An operator as its users write it: each Stall gets a Deployment, a finalizer's farewell, and a timer's count."""

import contextlib
from collections.abc import Iterator
from typing import Any

import kopf
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

GROUP, VERSION, PLURAL = "shop.example.com", "v1", "stalls"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Its own finalizer; what handlers log becomes events."""
    config.load_config()  # a pod's own token, where there is no kubeconfig
    # It may look at its own namespace only, so there is nothing to scan for new ones of either kind.
    settings.scanning.disabled = True
    settings.posting.loggers = True
    settings.persistence.finalizer = f"{GROUP}/farewell"
    # A handler that fails is called again; kopf's own minute is longer than anybody waits for a deletion.
    settings.execution.default_backoff = 1


@contextlib.contextmanager
def once() -> Iterator[None]:
    """What a handler makes may be there: kopf calls it again where it could not write down that it had succeeded."""
    try:
        yield
    except ApiException as error:
        if error.status != 409:
            raise


@kopf.on.create(GROUP, VERSION, PLURAL)
def opened(spec: Any, name: str, namespace: str, **_: Any) -> dict[str, str]:
    """A Deployment that the Stall owns."""
    body = deployment(name, spec["copies"])
    kopf.adopt(body)
    with once():
        client.AppsV1Api().create_namespaced_deployment(namespace, body)
    return {"deployment": name}


@kopf.on.field(GROUP, VERSION, PLURAL, field="spec.copies")
def resized(old: int | None, new: int, name: str, namespace: str, **_: Any) -> None:
    """Scale when the wish changes."""
    if old is not None:
        client.AppsV1Api().patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": new}})


@kopf.timer(GROUP, VERSION, PLURAL, interval=0.2)
def counted(patch: kopf.Patch, status: Any, **_: Any) -> None:
    """Shows that timers go on."""
    patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.on.delete(GROUP, VERSION, PLURAL)
def closed(name: str, namespace: str, **_: Any) -> None:
    """Leaves a note; the Stall stays until this has succeeded."""
    note = {"metadata": {"name": f"{name}-was-here"}}
    with once():
        client.CoreV1Api().create_namespaced_config_map(namespace, note)


def deployment(name: str, copies: int) -> dict[str, Any]:
    """A small Deployment."""
    container = {"name": "stall", "image": "pynetes.io/busybox:1.35", "command": ["sleep", "infinity"]}
    template = {"metadata": {"labels": {"stall": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": copies, "selector": {"matchLabels": {"stall": name}}, "template": template},
    }
