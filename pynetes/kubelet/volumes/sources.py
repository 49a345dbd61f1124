"""The files of configMap, secret, downwardAPI and projected volumes, from the API objects. Pure but for the token.

Only what a volume refers to is shown; a mode of a single item comes before the volume's default.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pynetes.kubelet import downward, podspec
from pynetes.kubelet.volumes.atomic import File
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.machinery.meta import Object


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where values come from."""

    config_map: Callable[[str, str], Awaitable[Object | None]]
    secret: Callable[[str, str], Awaitable[Object | None]]
    token: Callable[[Object, Object], Awaitable[str]]
    node: downward.NodeFacts


ATOMIC = ("configMap", "secret", "downwardAPI", "projected")
#: Projections of APIs that are off by default in this version; what reads them would find nothing.
OFF = {"clusterTrustBundle": "clustertrustbundles", "podCertificate": "podcertificaterequests"}


async def files(pod: Object, volume: Object, inputs: Inputs) -> dict[str, File]:
    """What the volume shows. Raises VolumeFailure naming the missing object."""
    for kind in ATOMIC:
        if kind in volume:
            source = volume[kind]
            mode = int(source.get("defaultMode", 0o644))
            if kind != "projected":
                return await _one(kind, pod, source, mode, inputs)
            shown: dict[str, File] = {}
            for projection in source.get("sources") or ():
                for inner, body in projection.items():
                    shown.update(await _one(inner, pod, body, mode, inputs))
            return shown
    raise VolumeFailure(f"volume {volume['name']} is of a type that shows no files")


async def _one(kind: str, pod: Object, source: Object, mode: int, inputs: Inputs) -> dict[str, File]:
    if kind == "configMap":
        found = await inputs.config_map(pod["metadata"].get("namespace", ""), source["name"])
        return _items("configmap", source["name"], found, source, mode)
    if kind == "secret":
        name = source.get("secretName") or source.get("name") or ""
        found = await inputs.secret(pod["metadata"].get("namespace", ""), name)
        return _items("secret", name, found, source, mode)
    if kind == "downwardAPI":
        return {item["path"]: _downward(pod, item, mode, inputs.node) for item in source.get("items") or ()}
    if kind == "serviceAccountToken":
        return {source["path"]: File((await inputs.token(pod, source)).encode(), mode)}
    if kind in OFF:
        api = f"{OFF[kind]}.certificates.k8s.io/v1beta1"
        raise VolumeFailure(f"projection of {kind} needs the API {api}, which this cluster does not serve")
    raise VolumeFailure(f"projection of {kind} is not supported")


def _items(kind: str, name: str, found: Object | None, source: Object, mode: int) -> dict[str, File]:
    optional = bool(source.get("optional"))
    if found is None:
        if optional:
            return {}
        raise VolumeFailure(f'{kind} "{name}" not found')
    data = downward.secret_data(found) if kind == "secret" else downward.config_map_data(found)
    if not source.get("items"):
        return {key: File(value, mode) for key, value in data.items()}
    return _chosen(source["items"], data, mode, optional=optional)


def _chosen(items: list[Object], data: Mapping[str, bytes], mode: int, *, optional: bool) -> dict[str, File]:
    shown = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            raise VolumeFailure(f"references non-existent config key: {item['key']}")
        own = item.get("mode")
        shown[item["path"]] = File(data[item["key"]], mode if own is None else int(own))
    return shown


def _downward(pod: Object, item: Object, mode: int, node: downward.NodeFacts) -> File:
    own = item.get("mode")
    chosen = mode if own is None else int(own)
    if "fieldRef" in item:
        return File(downward.field(pod, item["fieldRef"]["fieldPath"], node).encode(), chosen)
    reference = item["resourceFieldRef"]
    container = podspec.find(pod, reference.get("containerName", "")) or podspec.regulars(pod)[0]
    return File(downward.resource(pod, container, reference, node).encode(), chosen)
