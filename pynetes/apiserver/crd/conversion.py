"""Conversion webhooks: custom resources in another version than they are stored in, by a server of the user's.

Rendering is synchronous, so whoever is about to show or store objects asks for them first (`ready`), all in one
review; then the record's `convert` finds each answer by the object's content. Of what comes back only labels and
annotations of the metadata count, as upstream.
"""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from pynetes.apiserver.objects import Objects
from pynetes.apiserver.webhooks import CallFailed, call
from pynetes.component import metrics
from pynetes.machinery import errors
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.webhooks import REVIEW_VERSIONS

#: Answers kept; a list is shown soon after it was asked for.
KEPT = 20_000
#: Seconds a webhook has, upstream's.
PATIENCE = 30.0
_ASKED = metrics.Counter(
    "apiserver_crd_conversion_webhook_conversions_total", "Reviews by conversion webhooks.", "result"
)


class Conversions:
    """Asks, and keeps what was answered."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._kept: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()

    def convert(self, obj: Object, have: str, to: str) -> Object:
        """Resource.convert of a custom resource with a webhook. Raises StatusError 500 for what was not asked for."""
        found = self._kept.get((to, _digest(obj)))
        if found is None:
            raise errors.failure(500, "", f"conversion webhook for {_kind(obj)} failed: not asked")
        answer: Object = orjson.loads(found)
        return answer

    async def ready(self, resource: Resource, objs: Iterable[Object], to: str) -> None:
        """Have the webhook convert those that are in another version. Raises StatusError 500, in upstream's words."""
        pending = [obj for obj in objs if obj.get("apiVersion") != to and (to, _digest(obj)) not in self._kept]
        if not pending or resource.conversion is None:
            return
        try:
            converted = await self._ask(resource.conversion, pending, to)
        except CallFailed as failed:
            _ASKED.inc("failure")
            raise errors.failure(500, "", str(failed)) from failed
        _ASKED.inc("success")
        for obj, answer in zip(pending, converted, strict=True):
            self._kept[to, _digest(obj)] = orjson.dumps(answer)
        while len(self._kept) > max(KEPT, len(pending)):
            self._kept.popitem(last=False)

    async def _ask(self, webhook: Mapping[str, Any], pending: Sequence[Object], to: str) -> list[Object]:
        about = f"conversion webhook for {_kind(pending[0])}"
        versions = webhook.get("conversionReviewVersions") or ()
        version = next((each for each in versions if each in REVIEW_VERSIONS), None)
        if version is None:
            raise CallFailed("no supported conversion review versions")
        identity = str(uuid.uuid4())
        request = {"uid": identity, "desiredAPIVersion": to, "objects": list(pending)}
        review = {"kind": "ConversionReview", "apiVersion": f"apiextensions.k8s.io/{version}", "request": request}
        try:
            answer = await call(self._objects, webhook["clientConfig"], review, PATIENCE)
            converted = _answered(answer, review, identity)
        except CallFailed as failed:
            raise CallFailed(f"{about} failed: {failed}") from failed
        if len(converted) != len(pending):
            raise CallFailed(f"{about} returned {len(converted)} objects, expected {len(pending)}")
        return [_checked(obj, new, to, about) for obj, new in zip(pending, converted, strict=True)]


def _digest(obj: Object) -> bytes:
    return hashlib.sha256(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)).digest()


def _kind(obj: Object) -> str:
    version = obj.get("apiVersion") or ""
    return f"{version if '/' in version else f'/{version}'}, Kind={obj.get('kind') or ''}"


def _answered(answer: Object, review: Object, identity: str) -> list[Any]:
    if (found := _kind(answer)) != _kind(review):
        raise CallFailed(f"expected webhook response of {_kind(review)}, got {found}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallFailed("no response provided")
    if response.get("uid") != identity:
        raise CallFailed(f'expected response.uid="{identity}", got "{response.get("uid", "")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        why = f"response.result.status was '{result.get('status', '')}', not 'Success'"
        raise CallFailed(result.get("message") or why)
    converted = response.get("convertedObjects") or []
    return converted if isinstance(converted, list) else []


def _checked(obj: Object, new: Any, to: str, about: str) -> Object:
    """The converted object with the metadata that it must keep. Raises CallFailed."""
    wrong = f"{about} returned invalid object"
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise CallFailed(f"{wrong}: missing metadata")
    if new.get("apiVersion") != to:
        place = f"invalid groupVersion (expected {to}, received {new.get('apiVersion', '')})"
        raise CallFailed(f"{wrong} at index 0: {place}")
    if new.get("kind") != obj.get("kind"):
        place = f"invalid kind (expected {obj.get('kind')}, received {new.get('kind', '')})"
        raise CallFailed(f"{wrong} at index 0: {place}")
    before, after = obj["metadata"], new["metadata"]
    for name, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if (before.get(name) or "") != (after.get(name) or ""):
            raise CallFailed(f"{wrong}: must have the same {shown}: {before.get(name, '')} != {after.get(name, '')}")
    kept = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    kept |= {name: after[name] for name in ("labels", "annotations") if after.get(name)}
    return {**new, "metadata": kept}


def converter(definition: Object, conversions: Conversions) -> tuple[Object | None, Callable[..., Object] | None]:
    """Resource.conversion and Resource.convert of a definition; None where only the version's name changes."""
    about = definition["spec"].get("conversion") or {}
    if about.get("strategy") != "Webhook" or not about.get("webhook"):
        return None, None
    return about["webhook"], conversions.convert
