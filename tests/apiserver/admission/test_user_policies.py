"""Policies and webhooks that the cluster's users write, asked through the API."""

from pynetes.apiserver.http import request
from tests.apiserver.harness import API, CONFIGMAPS, configmap
from tests.apiserver.harness import api as serving

GROUP = "admissionregistration.k8s.io/v1"
BASE = f"/apis/{GROUP}"
RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]


async def bind(api: API, kind: str, spec: dict[str, object], **binding: object) -> None:
    """A policy and its binding."""
    plural = {"Validating": "validatingadmissionpolicies", "Mutating": "mutatingadmissionpolicies"}[kind]
    policy = {"apiVersion": GROUP, "kind": f"{kind}AdmissionPolicy", "metadata": {"name": "p"}}
    matching = {"matchConstraints": {"resourceRules": RULES}}
    assert (await api.post(f"{BASE}/{plural}", {**policy, "spec": {**matching, **spec}})).status == 201
    bound = {"apiVersion": GROUP, "kind": f"{kind}AdmissionPolicyBinding", "metadata": {"name": "b"}}
    answer = await api.post(f"{BASE}/{plural[:-3]}ybindings", {**bound, "spec": {"policyName": "p", **binding}})
    assert answer.status == 201
    await api.server.cacher.fresh()


async def test_policy_denies_and_explains() -> None:
    """A validation that fails answers with its message; a variable and the namespace can be asked about."""
    async with serving() as api:
        validation = {"expression": "!variables.bad", "messageExpression": "'not in ' + namespaceObject.metadata.name"}
        variables = [{"name": "bad", "expression": "'bad' in object.data"}]
        await bind(api, "Validating", {"validations": [validation], "variables": variables}, validationActions=["Deny"])
        answer = await api.post(CONFIGMAPS, configmap("x", bad="1"))
        assert answer.status == 422
        assert answer.body["message"].endswith("'p' with binding 'b' denied request: not in default")
        assert (await api.post(CONFIGMAPS, configmap("y", good="1"))).status == 201


async def test_policy_warns() -> None:
    """A binding that only warns lets the request through."""
    async with serving() as api:
        await bind(api, "Validating", {"validations": [{"expression": "false"}]}, validationActions=["Warn"])
        answer = await api.post(CONFIGMAPS, configmap("x"))
        assert answer.status == 201
        assert "failed expression: false" in str(answer.headers)


async def test_policy_notes_for_the_audit_log() -> None:
    """What did not hold, and what the policy's annotations say; an annotation that fails refuses the request."""
    async with serving() as api:
        notes = [
            {"key": "k", "valueExpression": "'name ' + object.metadata.name"},
            {"key": "n", "valueExpression": "null"},
        ]
        spec = {"validations": [{"expression": "true"}, {"expression": "false"}], "auditAnnotations": notes}
        await bind(api, "Validating", spec, validationActions=["Audit"])
        asked = request("POST", CONFIGMAPS, body=configmap("x"))
        asked.annotations = told = {}
        answer = await api.server.handle(asked)
        assert answer.status == 201
        assert told["p/k"] == "name x"
        assert "p/n" not in told
        assert told["validation.policy.admission.k8s.io/validation_failure"] == (
            '[{"message":"failed expression: false","policy":"p","binding":"b","expressionIndex":1,'
            '"validationActions":["Audit"]}]'
        )


async def test_an_annotation_that_fails_refuses() -> None:
    """Whatever the binding's actions are."""
    async with serving() as api:
        spec = {"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.zz)"}]}
        await bind(api, "Validating", spec, validationActions=["Audit"])
        answer = await api.post(CONFIGMAPS, configmap("x", a="b"))
        assert answer.status == 422
        assert answer.body["message"].endswith("resulted in error: no such key: zz")


async def test_policy_mutates() -> None:
    """Objects that an expression makes are applied, JSON patches too, one after the other."""
    made = "Object{metadata: Object.metadata{labels: {'a': has(object.data) ? 'xy' : 'n'}}}"
    patched = "[JSONPatch{op: 'add', path: '/metadata/labels/b', value: object.metadata.labels['a']}]"
    async with serving() as api:
        mutations = [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": made}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": patched}},
        ]
        await bind(api, "Mutating", {"mutations": mutations, "reinvocationPolicy": "Never"})
        answer = await api.post(CONFIGMAPS, configmap("x", k="v"))
        assert answer.body["metadata"]["labels"] == {"a": "xy", "b": "xy"}


async def test_webhook_out_of_reach() -> None:
    """A webhook that does not answer fails the request, a dry run too, unless it says otherwise."""
    hook: dict[str, object] = {
        "name": "h.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": RULES,
    }
    configuration = {"apiVersion": GROUP, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "h"}}
    path = f"{BASE}/validatingwebhookconfigurations"
    async with serving() as api:
        assert (await api.post(path, {**configuration, "webhooks": [hook]})).status == 201
        await api.server.cacher.fresh()
        answer = await api.post(CONFIGMAPS, configmap("x"))
        assert answer.status == 500
        assert 'failed calling webhook "h.example.com": failed to call webhook' in answer.body["message"]
        dry = await api.post(f"{CONFIGMAPS}?dryRun=All", configmap("x"))
        assert dry.status == 500
        await api.merge(f"{path}/h", {"webhooks": [{**hook, "failurePolicy": "Ignore"}]})
        await api.server.cacher.fresh()
        assert (await api.post(CONFIGMAPS, configmap("x"))).status == 201


async def test_the_request_says_its_namespace() -> None:
    """Which is a word that CEL keeps for itself, and no name of a variable."""
    async with serving() as api:
        validation = {"expression": "request.namespace == 'x'", "messageExpression": "'in ' + request.namespace"}
        await bind(api, "Validating", {"validations": [validation]}, validationActions=["Deny"])
        answer = await api.post(CONFIGMAPS, configmap("x", q="1"))
        assert answer.body["message"].endswith("denied request: in default")


async def test_a_variable_that_fails() -> None:
    """Is named by who uses it; who does not get to it does not fail."""
    async with serving() as api:
        variables = [
            {"name": "a", "expression": "object.data.zz"},
            {"name": "b", "expression": "variables.a + 'x'"},
        ]
        used = "has(object.data.b) && variables.b == 'x'"
        spec = {"validations": [{"expression": f"!({used})"}], "variables": variables}
        await bind(api, "Validating", spec, validationActions=["Deny"])
        assert (await api.post(CONFIGMAPS, configmap("x", q="1"))).status == 201
        answer = await api.post(CONFIGMAPS, configmap("y", b="1"))
        assert answer.body["message"].endswith(
            f"expression '!({used})' resulted in error: composited variable \"b\" fails to evaluate:"
            ' composited variable "a" fails to evaluate: no such key: zz'
        )


async def test_every_condition_that_fails_is_told() -> None:
    """Where none is false."""
    async with serving() as api:
        conditions = [{"name": name, "expression": f"object.data.{name} == ''"} for name in ("a", "b")]
        spec = {"validations": [{"expression": "true"}], "matchConditions": conditions}
        await bind(api, "Validating", spec, validationActions=["Deny"])
        answer = await api.post(CONFIGMAPS, configmap("x", q="1"))
        told = [f"expression 'object.data.{name} == ''' resulted in error: no such key: {name}" for name in ("a", "b")]
        assert answer.body["message"].endswith(f"denied request: [{', '.join(told)}]")


async def test_a_kind_of_parameters_that_nobody_serves() -> None:
    """Is the policy's mistake, not the binding's."""
    async with serving() as api:
        spec = {"validations": [{"expression": "true"}], "paramKind": {"apiVersion": "x.y/v1", "kind": "No"}}
        reference = {"name": "a", "parameterNotFoundAction": "Deny"}
        await bind(api, "Validating", spec, validationActions=["Deny"], paramRef=reference)
        answer = await api.post(CONFIGMAPS, configmap("x", q="1"))
        assert answer.body["message"].endswith(
            "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource"
            " referenced by paramKind: 'x.y/v1, Kind=No'"
        )


async def _refused(expression: str, patch: str = "ApplyConfiguration") -> dict[str, object]:
    """The answer to a create that a mutation cannot change."""
    member = {"JSONPatch": "jsonPatch", "ApplyConfiguration": "applyConfiguration"}[patch]
    mutations = [{"patchType": patch, member: {"expression": expression}}]
    async with serving() as api:
        await bind(api, "Mutating", {"mutations": mutations, "reinvocationPolicy": "Never", "failurePolicy": "Fail"})
        return (await api.post(CONFIGMAPS, configmap("x", q="1"))).body


async def test_mutations_that_fail() -> None:
    """All of them are causes; the message is the first one's alone."""
    expression = "Object{metadata: Object.metadata{labels: {'x': object.data.zz}}}"
    body = await _refused(expression)
    text = f"policy 'p' with binding 'b' denied request: expression '{expression}' resulted in error: no such key: zz"
    assert (body["code"], body["reason"], body["message"]) == (403, "Invalid", text)
    assert body["details"] == {"name": "x", "kind": "configmaps", "causes": [{"message": text}]}
    body = await _refused("Object{metadata: Object.spec{labels: {'x': 'y'}}}")
    assert str(body["message"]).endswith(
        'type mismatch: unexpected type name "Object.spec", expected "Object.metadata", which matches field name path'
        " from root Object type"
    )
    body = await _refused("Object{zzz: 'a'}")
    assert str(body["message"]).endswith(
        "error applying patch: failed to convert patch object to typed object: .zzz: field not declared in schema"
    )
    body = await _refused("Object{metadata: Object.metadata{managedFields: []}}")
    assert str(body["message"]).endswith(
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.managedFields"
    )


async def test_a_json_patch_whose_test_fails_changes_nothing() -> None:
    """And refuses nothing."""
    steps = "[JSONPatch{op: 'test', path: '/data/a', value: 'zz'}, JSONPatch{op: 'add', path: '/data/n', value: 'v'}]"
    body = await _refused(steps, "JSONPatch")
    assert body["kind"] == "ConfigMap"
    assert "n" not in (body.get("data") or {})
