"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: requests reviewed by servers of the cluster's users."""

import asyncio
import base64
import copy
import uuid
from collections.abc import AsyncIterator
from time import perf_counter

import orjson

from pynetes.apis.admissionregistration import mutatingwebhookconfigurations, validatingwebhookconfigurations
from pynetes.apiserver.admission import matching
from pynetes.apiserver.admission.attributes import Again, Attributes, Policy
from pynetes.apiserver.admission.equivalents import matched, seen, take_over
from pynetes.apiserver.admission.expressions import Failed, Scene, conditions_hold, request_of
from pynetes.apiserver.objects import Context
from pynetes.apiserver.webhooks import CallFailed, call
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors, field, go_json, patch
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

_SECONDS = REGISTRY.histogram(
    "apiserver_admission_webhook_admission_duration_seconds",
    "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API "
    "resource and type (validate or admit).",
    "name", "operation", "rejected", "type", buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25),
)  # fmt: skip
_SAFE = ("None", "NoneOnDryRun")
#: Where upstream registers the kinds of reviews.
_SCHEME = "k8s.io/apiserver/pkg/util/webhook/client.go:74"


async def _hooks(
    ctx: Context, attributes: Attributes, configurations: Resource
) -> AsyncIterator[tuple[Object, Attributes]]:
    """The webhooks that the request is for, in the order of their configurations' names, and the request as each sees
    it."""
    if matching.exempt(attributes):
        return
    for configuration in sorted(ctx.objects.list(configurations), key=lambda each: str(each["metadata"]["name"])):
        for hook in configuration.get("webhooks") or ():
            view = await _view(ctx, attributes, hook)
            if view is not None:
                yield hook, view


async def _view(ctx: Context, attributes: Attributes, hook: Object) -> Attributes | None:
    place = matched(ctx, attributes, hook, "rules")
    if place is None or not matching.selected(ctx, attributes, hook):
        return None
    view = await seen(ctx, attributes, place)
    conditions = hook.get("matchConditions") or ()
    try:
        return view if not conditions or conditions_hold(Scene(ctx, view), conditions) else None
    except Failed as error:
        if hook.get("failurePolicy") == "Ignore":
            return None
        raise attributes.forbidden(str(error)) from error


async def _ask(ctx: Context, attributes: Attributes, hook: Object, step: str) -> Object | None:
    """The webhook's response; None where it failed and may. Raises StatusError."""
    name = hook["name"]
    if attributes.dry_run and hook.get("sideEffects") not in _SAFE:
        raise errors.bad_request(f'admission webhook "{name}" does not support dry run')
    version = next((each for each in hook.get("admissionReviewVersions") or () if each in ("v1", "v1beta1")), "v1")
    uid = str(uuid.uuid4())
    request = {"uid": uid, **request_of(attributes), "object": attributes.obj, "oldObject": attributes.old}
    review = {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": request}
    began, refused = perf_counter(), "true"
    try:
        try:
            answer = await call(ctx.objects, hook["clientConfig"], review, hook.get("timeoutSeconds") or 10)
            response = _decoded(answer, review)
        except CallFailed as error:
            raise CallFailed(f"failed to call webhook: {error}") from error
        if problem := _wrong(answer, response, version, uid, changing=step == "admit"):
            raise CallFailed(f"received invalid webhook response: {problem}")
        refused = "false" if response.get("allowed") else "true"
    except CallFailed as error:
        if hook.get("failurePolicy") == "Ignore":
            return None
        raise errors.internal(f'failed calling webhook "{name}": {error}') from error
    finally:
        _SECONDS.observe(perf_counter() - began, name, attributes.operation, refused, step)
    for key, value in (response.get("auditAnnotations") or {}).items():
        attributes.annotations[f"{name}/{key}"] = str(value)
    attributes.warnings.extend(response.get("warnings") or ())
    if not response.get("allowed"):
        raise _denied(name, response.get("status") or {})
    return response


def _decoded(answer: Object, review: Object) -> Object:
    """The response of a review of the very version that was sent; {} without one. Raises CallFailed."""
    wanted, group = str(review["apiVersion"]), "admission.k8s.io/"
    found, kind = answer.get("apiVersion") or wanted, answer.get("kind") or "AdmissionReview"
    if kind != "AdmissionReview" or not found.startswith(group) or found[len(group) :] not in ("v1", "v1beta1"):
        raise CallFailed(f'no kind "{kind}" is registered for version "{found}" in scheme "{_SCHEME}"')
    if found != wanted:
        here, there = found[len(group) :], wanted[len(group) :]
        raise CallFailed(f"converting ({here}.AdmissionReview) to ({there}.AdmissionReview): unknown conversion")
    response = answer.get("response")
    if response is not None and not isinstance(response, dict):
        of = f"Go struct field AdmissionReview.response of type {wanted[len(group) :]}.AdmissionResponse"
        raise CallFailed(f"json: cannot unmarshal {go_json.kind_of(response)} into {of}")
    return response or {}


def _wrong(answer: Object, response: Object, version: str, uid: str, *, changing: bool) -> str:
    """What is wrong with a review that was answered; "" if nothing is. v1beta1 never looked at most of it."""
    if answer.get("response") is None:
        return "webhook response was absent"
    if version == "v1beta1":
        return ""
    if response.get("uid") != uid:
        return f'expected response.uid="{uid}", got {field.quote(str(response.get("uid") or ""))}'
    if not answer.get("apiVersion") or not answer.get("kind"):
        api_version = answer.get("apiVersion") or "/"  # as Go writes a kind of no group
        kinds = f"{api_version}, Kind={answer.get('kind') or ''}"
        return f"expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {kinds}"
    given, kind = bool(response.get("patch")), response.get("patchType")
    if not changing:
        if given:
            return "validating webhook may not return response.patch"
        return "" if kind is None else "validating webhook may not return response.patchType"
    if given and kind is None:
        return "webhook returned response.patch but not response.patchType"
    if kind is not None and not given:
        return "webhook returned response.patchType but not response.patch"
    return 'webhook returned invalid response.patchType of ""' if kind == "" else ""


def _denied(name: str, result: Object) -> StatusError:
    said = result.get("message") or result.get("reason")
    text = f'admission webhook "{name}" denied the request' + (f": {said}" if said else " without explanation")
    kept = {key: result[key] for key in ("reason", "details") if result.get(key)}
    about = {"kind": "Status", "apiVersion": "v1", "metadata": result.get("metadata") or {}}
    word = result.get("status") if result.get("status") not in (None, "", "Success") else "Failure"
    code = max(int(result.get("code") or 0), 400)
    return StatusError({**about, "status": word, "message": text, **kept, "code": code})


class MutatingAdmissionWebhook(Policy):
    """One after the other; those that ask for it see the object again once others have changed it."""

    name = "MutatingAdmissionWebhook"
    rules = mutatingwebhookconfigurations.RESOURCE

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Change the object as they say. Raises StatusError."""
        again = attributes.again = attributes.again or Again()
        memory = again.begin(self.name, orjson.dumps(attributes.obj))
        async for hook, view in _hooks(ctx, attributes, mutatingwebhookconfigurations.RESOURCE):
            if again.skips(memory, hook["name"]):
                continue
            before = orjson.dumps(attributes.obj)
            await self._apply(ctx, attributes, view, hook)
            changed = orjson.dumps(attributes.obj) != before
            again.ran(memory, hook["name"], changed=changed, policy=hook.get("reinvocationPolicy"))
        memory.left = orjson.dumps(attributes.obj)

    async def _apply(self, ctx: Context, attributes: Attributes, view: Attributes, hook: Object) -> None:
        response = await _ask(ctx, view, hook, "admit")
        if response is None or not response.get("patch"):
            return
        name = hook["name"]
        try:
            steps = _steps(response)
        except ValueError as error:
            if hook.get("failurePolicy") == "Ignore":
                return
            raise errors.internal(f'failed calling webhook "{name}": {error}') from error
        if not steps:
            return
        if view.obj is None:
            text = "attempted to modify the object, which is not supported for this operation"
            raise errors.internal(f'admission webhook "{name}" {text}')
        try:
            changed = patch.json_patch(copy.deepcopy(view.obj), steps)
        except ValueError as error:
            raise errors.internal(str(error)) from error
        await take_over(ctx, attributes, view, changed)


def _steps(response: Object) -> list[Object]:
    """The steps of the patch. Raises ValueError."""
    try:
        written = base64.b64decode(response["patch"], validate=True)
        steps = orjson.loads(written)
    except ValueError as error:
        raise ValueError(f"received undecodable patch in webhook response: {error}") from error
    if not isinstance(steps, list):
        kind = go_json.kind_of(steps)
        text = f"json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch"
        raise ValueError(f"received undecodable patch in webhook response: {text}")
    if steps and response.get("patchType", "JSONPatch") != "JSONPatch":
        raise ValueError(f"unsupported patch type {field.quote(str(response['patchType']))}")
    return steps


class ValidatingAdmissionWebhook(Policy):
    """All at once; the first refusal, in order, is answered."""

    name = "ValidatingAdmissionWebhook"
    rules = validatingwebhookconfigurations.RESOURCE

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises StatusError."""
        hooks = [found async for found in _hooks(ctx, attributes, validatingwebhookconfigurations.RESOURCE)]
        if not hooks:
            return
        refused: dict[int, StatusError] = {}

        async def ask(number: int, hook: Object, view: Attributes) -> None:
            try:
                await _ask(ctx, view, hook, "validating")
            except StatusError as error:
                refused[number] = error

        async with asyncio.TaskGroup() as group:
            for number, (hook, view) in enumerate(hooks):
                group.create_task(ask(number, hook, view))
        if refused:
            raise refused[min(refused)]
