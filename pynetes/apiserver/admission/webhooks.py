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
from pynetes.apiserver.admission.attributes import Attributes, Policy
from pynetes.apiserver.admission.equivalents import Place, matched, place_of, seen, take_over
from pynetes.apiserver.admission.expressions import Failed, Scene, conditions_hold, request_of
from pynetes.apiserver.objects import Context
from pynetes.apiserver.webhooks import CallFailed, call
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors, patch
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
        answer = await call(ctx.objects, hook["clientConfig"], review, hook.get("timeoutSeconds") or 10)
        response = _checked(answer, review, uid)
        refused = "false" if response.get("allowed") else "true"
    except CallFailed as error:
        if hook.get("failurePolicy") == "Ignore":
            return None
        raise errors.internal(f'failed calling webhook "{name}": failed to call webhook: {error}') from error
    finally:
        _SECONDS.observe(perf_counter() - began, name, attributes.operation, refused, step)
    attributes.warnings.extend(response.get("warnings") or ())
    if not response.get("allowed"):
        raise _denied(name, response.get("status") or {})
    return response


def _checked(answer: Object, review: Object, uid: str) -> Object:
    wanted = f"{review['apiVersion']}, Kind=AdmissionReview"
    found = f"{answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
    if found != wanted:
        raise CallFailed(f"expected webhook response of {wanted}, got {found}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallFailed("webhook response was absent")
    if response.get("uid") != uid:
        raise CallFailed(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    return response


def _denied(name: str, result: Object) -> StatusError:
    said = result.get("message") or result.get("reason")
    text = f'admission webhook "{name}" denied the request' + (f": {said}" if said else " without explanation")
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **result, "status": "Failure", "message": text}
    status["code"] = max(int(result.get("code") or 0), 400)
    return StatusError(status)


class MutatingAdmissionWebhook(Policy):
    """One after the other; those that ask for it see the object again once others have changed it."""

    name = "MutatingAdmissionWebhook"
    rules = mutatingwebhookconfigurations.RESOURCE

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Change the object as they say. Raises StatusError."""
        called: list[tuple[Object, Place, bytes]] = []
        async for hook, view in _hooks(ctx, attributes, mutatingwebhookconfigurations.RESOURCE):
            await self._apply(ctx, attributes, view, hook)
            called.append((hook, place_of(view), orjson.dumps(attributes.obj)))
        for hook, place, left in called:
            if hook.get("reinvocationPolicy") == "IfNeeded" and orjson.dumps(attributes.obj) != left:
                await self._apply(ctx, attributes, await seen(ctx, attributes, place), hook)

    async def _apply(self, ctx: Context, attributes: Attributes, view: Attributes, hook: Object) -> None:
        response = await _ask(ctx, view, hook, "admit")
        if response is None or not response.get("patch") or view.obj is None:
            return
        try:
            steps = orjson.loads(base64.b64decode(response["patch"]))
            changed = patch.json_patch(copy.deepcopy(view.obj), steps)
        except ValueError as error:
            if hook.get("failurePolicy") == "Ignore":
                return
            raise errors.internal(f'failed calling webhook "{hook["name"]}": {error}') from error
        await take_over(ctx, attributes, view, changed)


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
