"""Parameters of a StorageClass that are for the control side and not for the driver: secrets and the filesystem.

Secrets' names may be templates: ${pv.name}, ${pvc.namespace}, ${pvc.name}, ${pvc.annotations['KEY']}.
"""

import re
from collections.abc import Mapping

from pynetes.client.controller import Foreseen
from pynetes.machinery.meta import Object

PREFIX = "csi.storage.k8s.io/"
FS_TYPE = f"{PREFIX}fstype"
#: What upstream's provisioner makes where nobody says which filesystem: nothing is said to the driver.
SECRETS = ("provisioner", "controller-publish", "node-stage", "node-publish", "controller-expand", "node-expand")
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_ANNOTATION = re.compile(r"pvc\.annotations\['([^']+)'\]")


class BadParameters(Foreseen):
    """A class cannot be used as it is; the text names the parameter."""


def for_driver(parameters: Mapping[str, str]) -> dict[str, str]:
    """What the driver gets. Raises BadParameters for what nobody knows."""
    known = {FS_TYPE} | {f"{PREFIX}{kind}-secret-{part}" for kind in SECRETS for part in ("name", "namespace")}
    for name in parameters:
        if name.startswith(PREFIX) and name not in known:
            raise BadParameters(f"parameters: {name} is none that is known")
    return {name: value for name, value in parameters.items() if not name.startswith(PREFIX)}


def secret_ref(kind: str, parameters: Mapping[str, str], *, volume: str, claim: Object | None) -> Object | None:
    """The reference to a secret that a class names for a kind of call; None if it names none. Raises BadParameters."""
    name = parameters.get(f"{PREFIX}{kind}-secret-name", "")
    namespace = parameters.get(f"{PREFIX}{kind}-secret-namespace", "")
    if not name and not namespace:
        return None
    if not name or not namespace:
        raise BadParameters(f"parameters: {kind}-secret-name and {kind}-secret-namespace go together")
    values = {"pv.name": volume}
    if claim is not None:
        values |= {"pvc.name": claim["metadata"]["name"], "pvc.namespace": claim["metadata"]["namespace"]}
    return {"name": _resolved(name, values, claim), "namespace": _resolved(namespace, values, claim)}


def _resolved(text: str, values: Mapping[str, str], claim: Object | None) -> str:
    def value(match: re.Match[str]) -> str:
        word = match[1]
        if word in values:
            return values[word]
        annotation = _ANNOTATION.fullmatch(word)
        annotations = (claim["metadata"].get("annotations") or {}) if claim else {}
        if annotation and annotation[1] in annotations:
            return str(annotations[annotation[1]])
        raise BadParameters(f"parameters: {match[0]} in {text!r} stands for nothing")

    return _TEMPLATE.sub(value, text)
