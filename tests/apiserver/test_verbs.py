"""The verbs over the memory store, in process."""

import orjson
import pytest

from pynetes import apis
from pynetes.machinery import schema
from pynetes.machinery.meta import Object
from tests.apiserver.harness import CONFIGMAPS, Asked, api, configmap


async def test_create_completes_what_the_server_owns() -> None:
    """uid, creationTimestamp and resourceVersion are the server's; what a client puts there does not count."""
    async with api() as cluster:
        body = configmap("a", x="1")
        body["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"}
        made = await cluster.post(CONFIGMAPS, body)
        assert made.status == 201
        assert made.body["metadata"]["uid"] != "mine"
        assert made.body["metadata"]["creationTimestamp"] > "2020"
        assert made.body["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:x": {}}}
        again = await cluster.post(CONFIGMAPS, body)
        assert (again.status, again.body["reason"]) == (409, "AlreadyExists")


async def test_generated_names_differ() -> None:
    """generateName completes a prefix by a random suffix."""
    async with api() as cluster:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
        names = {(await cluster.post(CONFIGMAPS, body)).body["metadata"]["name"] for _ in range(5)}
        assert len(names) == 5
        assert all(name.startswith("x-") for name in names)


async def test_update_needs_the_newest_version_if_it_names_one() -> None:
    """A stale resourceVersion conflicts; none at all overwrites."""
    async with api() as cluster:
        first = (await cluster.post(CONFIGMAPS, configmap("a", x="1"))).body
        await cluster.put(f"{CONFIGMAPS}/a", configmap("a", x="2"))
        stale = await cluster.put(f"{CONFIGMAPS}/a", first)
        assert (stale.status, stale.body["reason"]) == (409, "Conflict")
        assert (await cluster.get(f"{CONFIGMAPS}/a")).body["data"] == {"x": "2"}


async def test_some_kinds_are_not_overwritten_without_a_version() -> None:
    """Those that controllers and administrators change at the same time."""
    async with api() as cluster:
        path = "/apis/node.k8s.io/v1/runtimeclasses"
        body = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "r"}, "handler": "runc"}
        assert (await cluster.post(path, body)).status == 201
        refused = await cluster.put(f"{path}/r", body)
        assert refused.status == 422
        assert "metadata.resourceVersion: Invalid value: 0: must be specified" in refused.body["message"]


async def test_a_service_comes_by_put_too() -> None:
    """One of the kinds that may."""
    async with api() as cluster:
        path = "/api/v1/namespaces/default/services/web"
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
        made = await cluster.put(path, body)
        assert (made.status, bool(made.body["spec"]["clusterIP"])) == (201, True)


async def test_secrets_of_an_account_are_names() -> None:
    """Whatever else is said of them."""
    async with api() as cluster:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
        secrets = [{"name": "s", "namespace": "elsewhere", "kind": "Secret"}]
        made = await cluster.post("/api/v1/namespaces/default/serviceaccounts", {**body, "secrets": secrets})
        assert made.body["secrets"] == [{"name": "s"}]


async def test_an_update_that_changes_nothing_is_not_written() -> None:
    """resourceVersion stays."""
    async with api() as cluster:
        made = (await cluster.post(CONFIGMAPS, configmap("a", x="1"))).body
        same = (await cluster.put(f"{CONFIGMAPS}/a", made)).body
        assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_dry_run_stores_nothing() -> None:
    """The answer is as if it had."""
    async with api() as cluster:
        tried = await cluster.post(f"{CONFIGMAPS}?dryRun=All", configmap("a", x="1"))
        assert (tried.status, tried.body["data"]) == (201, {"x": "1"})
        assert (await cluster.get(f"{CONFIGMAPS}/a")).status == 404


async def test_unknown_fields() -> None:
    """Refused when strict, warned of by default, dropped in silence when ignored."""
    async with api() as cluster:
        body = configmap("a") | {"bogus": 1}
        strict = await cluster.post(f"{CONFIGMAPS}?fieldValidation=Strict", body)
        assert strict.status == 400
        assert 'unknown field "bogus"' in strict.body["message"]
        warned = await cluster.post(CONFIGMAPS, body)
        assert ("Warning", '299 - "unknown field \\"bogus\\""') in warned.headers
        silent = await cluster.post(f"{CONFIGMAPS}?fieldValidation=Ignore", configmap("b") | {"bogus": 1})
        assert "Warning" not in dict(silent.headers)
        assert "bogus" not in silent.body


async def test_patches() -> None:
    """Merge, JSON and apply, each by its media type."""
    async with api() as cluster:
        path = f"{CONFIGMAPS}/a"
        applied = await cluster.apply(f"{path}?fieldManager=m", configmap("a", x="1", y="2"))
        assert applied.status == 201
        merged = await cluster.merge(path, {"data": {"x": None, "z": "3"}})
        assert merged.body["data"] == {"y": "2", "z": "3"}
        operations = orjson.dumps([{"op": "replace", "path": "/data/y", "value": "4"}])
        patched = await cluster.ask("PATCH", path, operations, content_type="application/json-patch+json")
        assert patched.body["data"] == {"y": "4", "z": "3"}
        refused = await cluster.apply(f"{path}?fieldManager=m", configmap("a", y="5"))
        assert (refused.status, refused.body["reason"]) == (409, "Conflict")
        forced = await cluster.apply(f"{path}?fieldManager=m&force=true", configmap("a", y="5"))
        assert forced.body["data"] == {"y": "5", "z": "3"}


async def test_a_scale_is_applied() -> None:
    """Its manager owns the replicas of the object; another one's replicas conflict, and are taken by force."""
    async with api() as cluster:
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
        await cluster.apply(f"{path}/d?fieldManager=m1", body)
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}
        refused = await cluster.apply(f"{path}/d/scale?fieldManager=m2", scale)
        message = 'Apply failed with 1 conflict: conflict with "m1": .spec.replicas'
        assert (refused.status, refused.body["message"]) == (409, message)
        scaled = await cluster.apply(f"{path}/d/scale?force=true&fieldManager=m2", scale)
        assert (scaled.status, scaled.body["kind"], scaled.body["spec"]["replicas"]) == (200, "Scale", 3)
        entries = (await cluster.get(f"{path}/d")).body["metadata"]["managedFields"]
        (own,) = [entry for entry in entries if entry["manager"] == "m2"]
        assert (own["operation"], own["apiVersion"], own["subresource"]) == ("Apply", "apps/v1", "scale")
        assert own["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
        assert all("f:replicas" not in entry["fieldsV1"]["f:spec"] for entry in entries if entry["manager"] == "m1")


async def test_keys_that_come_twice_in_what_is_applied() -> None:
    """Refused when strict, warned of by default."""
    async with api() as cluster:
        body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n  x: '2'\n"
        strict = await cluster.apply(f"{CONFIGMAPS}/a?fieldValidation=Strict&fieldManager=m", body)
        assert (strict.status, strict.body["message"]) == (
            400,
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
            '  line 6: key "x" already set in map',
        )
        warned = await cluster.apply(f"{CONFIGMAPS}/a?fieldManager=m", body)
        assert warned.status == 201
        assert ("Warning", '299 - "line 6: key \\"x\\" already set in map"') in warned.headers


async def test_what_a_write_of_status_changes_beside_it() -> None:
    """Labels of most kinds; of some nothing, as upstream."""
    async with api() as cluster:
        schema = {"openAPIV3Schema": {"type": "object"}}
        versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
        names = {"plural": "foos", "kind": "Foo"}
        spec = {"group": "e.com", "scope": "Cluster", "names": names, "versions": versions}
        crd = {"metadata": {"name": "foos.e.com"}, "spec": spec}
        flow = {"metadata": {"name": "f"}, "spec": {"priorityLevelConfiguration": {"name": "exempt"}}}
        for path, body, labels in (
            ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd, {"a": "b"}),
            ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", flow, None),
        ):
            assert (await cluster.post(path, body)).status == 201
            changed = await cluster.merge(
                f"{path}/{body['metadata']['name']}/status", {"metadata": {"labels": {"a": "b"}}}
            )
            assert (changed.status, changed.body["metadata"].get("labels")) == (200, labels)


@pytest.mark.parametrize("patch", ["merge-patch", "strategic-merge-patch"])
async def test_a_patch_of_status_keeps_the_rest(patch: str) -> None:
    """Whatever the patch says of the spec; what it says wrongly there is refused all the same."""
    async with api() as cluster:
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        made = (await cluster.post(path, {"metadata": {"name": "web", "labels": {"x": "y"}}, "spec": spec})).body

        async def send(path: str, body: Object) -> Asked:
            return await cluster.ask("PATCH", path, body, **{"content-type": f"application/{patch}+json"})

        status = {"status": {"replicas": 2, "observedGeneration": 1}, "spec": {"replicas": 5, "template": None}}
        changed = await send(f"{path}/web/status", status)
        assert changed.status == 200
        assert changed.body["status"] == {"replicas": 2, "observedGeneration": 1}
        assert changed.body["spec"] == made["spec"]
        assert (changed.body["metadata"]["labels"], changed.body["metadata"]["generation"]) == ({"x": "y"}, 1)
        assert (await cluster.get(f"{path}/web")).body == changed.body
        emptied = await send(f"{path}/web/status", {"status": None})
        assert (emptied.status, emptied.body["status"], emptied.body["spec"]) == (200, {}, made["spec"])
        wrong = await send(f"{path}/web/status?fieldValidation=Strict", {"spec": {"replicaz": 1}})
        assert (wrong.status, "replicaz" in wrong.body["message"]) == (422, True)


async def test_every_status_can_be_patched_alone() -> None:
    """Decoding and defaults of every kind do without what a patch of its status does not touch."""
    for resource in apis.load():
        if "status" not in resource.subresources:
            continue
        part = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {"name": "a"}, "status": {}}
        assert schema.of(resource).decode(part) == []
        schema.of(resource).default(part)
        assert part["metadata"]["name"] == "a", resource.kind


async def test_finalizers_hold_a_deleted_object() -> None:
    """It is marked; the update that takes the last finalizer away removes it."""
    async with api() as cluster:
        body = configmap("a")
        body["metadata"]["finalizers"] = ["example.com/hold"]
        await cluster.post(CONFIGMAPS, body)
        marked = await cluster.delete(f"{CONFIGMAPS}/a")
        assert marked.body["metadata"]["deletionTimestamp"]
        more = await cluster.merge(f"{CONFIGMAPS}/a", {"metadata": {"finalizers": ["example.com/hold", "b.com/x"]}})
        assert more.status == 422
        await cluster.merge(f"{CONFIGMAPS}/a", {"metadata": {"finalizers": None}})
        assert (await cluster.get(f"{CONFIGMAPS}/a")).status == 404


async def test_deletion_preconditions() -> None:
    """A uid that is another object's refuses the deletion."""
    async with api() as cluster:
        await cluster.post(CONFIGMAPS, configmap("a"))
        refused = await cluster.delete(f"{CONFIGMAPS}/a", {"preconditions": {"uid": "other"}})
        assert (refused.status, refused.body["reason"]) == (409, "Conflict")
        assert (await cluster.delete(f"{CONFIGMAPS}/a")).body["status"] == "Success"


async def test_generation_follows_spec_alone() -> None:
    """Status and labels leave it; spec moves it; the status endpoint cannot touch spec."""
    async with api() as cluster:
        path = "/apis/apps/v1/namespaces/default/deployments"
        labels = {"app": "x"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        made = await cluster.post(path, {"metadata": {"name": "d", "generation": 7}, "spec": spec})
        assert made.body["metadata"]["generation"] == 1
        scaled = await cluster.merge(f"{path}/d/scale", {"spec": {"replicas": 4}})
        assert (scaled.body["kind"], scaled.body["spec"]["replicas"]) == ("Scale", 4)
        status = await cluster.merge(f"{path}/d/status", {"spec": {"replicas": 9}, "status": {"replicas": 2}})
        assert (status.body["spec"]["replicas"], status.body["status"]["replicas"]) == (4, 2)
        assert status.body["metadata"]["generation"] == 2


async def test_selectors_and_pages() -> None:
    """A page ends with a token that goes on at the revision of the first page."""
    async with api() as cluster:
        for index in range(5):
            body = configmap(f"c{index}")
            body["metadata"]["labels"] = {"odd": str(index % 2)}
            await cluster.post(CONFIGMAPS, body)
        odd = await cluster.get(f"{CONFIGMAPS}?labelSelector=odd%3D1")
        assert [item["metadata"]["name"] for item in odd.body["items"]] == ["c1", "c3"]
        first = (await cluster.get(f"{CONFIGMAPS}?limit=2")).body
        assert first["metadata"]["remainingItemCount"] == 3
        await cluster.delete(f"{CONFIGMAPS}/c4")
        token = first["metadata"]["continue"]
        rest = (await cluster.get(f"{CONFIGMAPS}?limit=5&continue={token}")).body
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c2", "c3", "c4"]
        assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_tables_and_metadata_only() -> None:
    """The Accept header chooses the representation."""
    async with api() as cluster:
        await cluster.post(CONFIGMAPS, configmap("a", x="1"))
        table = await cluster.get(f"{CONFIGMAPS}/a", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        assert table.body["kind"] == "Table"
        assert table.body["rows"][0]["cells"][:2] == ["a", 1]
        partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        listed = await cluster.get(CONFIGMAPS, accept=partial)
        assert (listed.body["kind"], set(listed.body["items"][0])) == (
            "PartialObjectMetadataList",
            {"kind", "apiVersion", "metadata"},
        )
        assert (await cluster.get(CONFIGMAPS, accept="image/png")).status == 406
        assert (await cluster.get(f"{CONFIGMAPS}/a", accept="application/yaml")).raw.startswith(b"apiVersion: v1\n")


async def test_a_watch_begins_with_the_state_and_goes_on() -> None:
    """Without a revision what is there comes as ADDED, then every change as it happens."""
    async with api() as cluster:
        await cluster.post(CONFIGMAPS, configmap("a", x="1"))
        watch = (await cluster.get(f"{CONFIGMAPS}?watch=true&timeoutSeconds=5")).stream
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in lines(await anext(watch))] == [("ADDED", "a")]
        await cluster.merge(f"{CONFIGMAPS}/a", {"data": {"x": "2"}})
        await cluster.delete(f"{CONFIGMAPS}/a")
        events = lines(await anext(watch))
        # Both may come in one piece.
        events += lines(await anext(watch)) if len(events) < 2 else []
        assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
        await watch.aclose()


async def test_initial_events_end_with_a_bookmark() -> None:
    """sendInitialEvents: the state, then the annotated bookmark."""
    async with api() as cluster:
        await cluster.post(CONFIGMAPS, configmap("a"))
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        watch = (await cluster.get(f"{CONFIGMAPS}?{query}")).stream
        added, bookmark = [lines(await anext(watch))[0] for _ in range(2)]
        assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await watch.aclose()


def lines(chunk: bytes) -> list[dict[str, dict[str, dict[str, str]]]]:
    return [orjson.loads(line) for line in chunk.splitlines()]


async def test_custom_resources() -> None:
    """A definition is served at once: pruned, defaulted, validated, in discovery; it goes with its objects."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "color": {"type": "string", "default": "red"},
                },
            }
        },
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    async with api() as cluster:
        made = await cluster.post(definitions, {"metadata": {"name": "widgets.example.com"}, "spec": spec})
        assert made.status == 201, made.raw
        watch = (await cluster.get(f"{definitions}?watch=true&timeoutSeconds=10")).stream
        async for chunk in watch:
            statuses = lines(chunk)[-1]["object"].get("status", {})
            if any(c["type"] == "Established" for c in statuses.get("conditions") or ()):  # type: ignore[index]
                break
        await watch.aclose()
        widget = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "a"},
            "spec": {"size": 2, "x": 1},
        }
        stored = await cluster.post(widgets, widget)
        assert stored.body["spec"] == {"size": 2, "color": "red"}
        bad = await cluster.merge(f"{widgets}/a", {"spec": {"size": 0}})
        assert bad.status == 422
        assert "spec.size in body should be greater than or equal to 1" in bad.body["message"]
        assert (await cluster.get("/apis/example.com/v1")).body["resources"][0]["name"] == "widgets"


async def test_paths_that_nobody_serves() -> None:
    """An unknown group is plain text, an unknown resource of a known group a Status."""
    async with api() as cluster:
        plain = await cluster.get("/apis/nobody/v1/things")
        assert (plain.status, plain.raw) == (404, b"404 page not found\n")
        status = await cluster.get("/api/v1/bogus")
        assert (status.status, status.body["reason"]) == (404, "NotFound")


async def test_cluster_scoped_resources_are_not_below_namespaces() -> None:
    """A Role in a namespace would else reach what only a ClusterRole may."""
    async with api() as cluster:
        await cluster.post("/api/v1/nodes", {"metadata": {"name": "n"}})
        assert (await cluster.get("/api/v1/nodes/n")).status == 200
        for path in ("nodes", "nodes/n", "nodes/n/status", "nodes/n/proxy/metrics", "persistentvolumes"):
            assert (await cluster.get(f"/api/v1/namespaces/default/{path}")).status == 404
        assert (await cluster.get("/api/v1/namespaces/default")).status == 200
        assert (await cluster.get("/api/v1/namespaces/default/status")).status == 200


async def test_how_long_pods_tolerate_their_nodes() -> None:
    """As the flags say."""
    async with api(default_not_ready_toleration_seconds=5, default_unreachable_toleration_seconds=7) as cluster:
        await cluster.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        body = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
        made = await cluster.post("/api/v1/namespaces/default/pods", body)
        found = {each["key"]: each["tolerationSeconds"] for each in made.body["spec"]["tolerations"]}
        assert found == {"node.kubernetes.io/not-ready": 5, "node.kubernetes.io/unreachable": 7}
