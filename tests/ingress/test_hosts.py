"""Rules by difference: after any history they are those that a fresh start would make."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pynetes.ingress import table
from pynetes.ingress.annotations import PREFIX
from pynetes.ingress.hosts import Hosts, of_all
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.rules import BackendRef
from pynetes.ingress.wanted import Wanted
from pynetes.machinery.meta import Key, Object

CLASS: Object = {"kind": "IngressClass", "metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
CLUSTER = Cluster(
    service=lambda _: None, secret=lambda _: None, folder=Path("/x"), default_backend=BackendRef(Key("d", "d"), "80")
)
ANNOTATIONS: list[dict[str, str]] = [
    {}, {"canary": "true", "canary-weight": "10"}, {"from-to-www-redirect": "true"}, {"server-alias": "b.test,c.test"},
    {"proxy-body-size": "bad"}, {"rewrite-target": "/$1"}, {"use-regex": "true"}, {"default-backend": "t"},
    {"auth-type": "basic", "auth-secret": "users"}, {"canary": "true", "canary-by-header": "X-New"},
]  # fmt: skip


@st.composite
def ingresses(draw: st.DrawFn) -> Object:
    """One of five names, of an age, over a few hosts and paths that others have too."""
    hosts = st.sampled_from(["a.test", "www.a.test", "b.test", "*.test", ""])
    rules = []
    for host in draw(st.lists(hosts, max_size=2)):
        path, service = draw(st.sampled_from(["/", "/x"])), draw(st.sampled_from(["s", "t"]))
        backend: Object = {"service": {"name": service, "port": {"number": 80}}}
        if draw(st.integers(0, 7)) == 0:
            backend = {"resource": {"kind": "Bucket", "name": "b"}}
        kind = draw(st.sampled_from(["Prefix", "Exact", "ImplementationSpecific"]))
        rules.append({"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}})
    spec: Object = {"ingressClassName": draw(st.sampled_from(["nginx", "nginx", "other"])), "rules": rules}
    if draw(st.booleans()):
        spec["defaultBackend"] = {"service": {"name": "rest", "port": {"number": 80}}}
    if draw(st.booleans()):
        spec["tls"] = [{"hosts": ["b.test"], "secretName": "gone"}]
    said = draw(st.sampled_from(ANNOTATIONS))
    created = f"2026-01-01T00:00:0{draw(st.integers(0, 3))}Z"
    metadata = {"namespace": "default", "name": draw(st.sampled_from("abcde")), "creationTimestamp": created,
                "annotations": {PREFIX + key: text for key, text in said.items()}}  # fmt: skip
    return {"kind": "Ingress", "metadata": metadata, "spec": spec}


#: What Ingresses depend on, in the states that change what they come to.
DEPENDENCIES: dict[tuple[str, Key], list[Object | None]] = {
    ("Service", Key("default", "t")): [
        None,
        {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}},
        {"spec": {"type": "ClusterIP", "ports": [{"port": 81}]}},
        {"spec": {"type": "ExternalName"}},
    ],
    ("Secret", Key("default", "users")): [None, {"data": {}}, {"data": {"auth": "dTpwCg=="}}],
    ("Secret", Key("default", "gone")): [None, {"data": {"tls.crt": "eA==", "tls.key": "eA=="}}],
}


@settings(max_examples=40, deadline=None)
@given(st.data(), st.lists(ingresses(), min_size=1, max_size=4, unique_by=lambda each: each["metadata"]["name"]))
def test_what_an_ingress_depends_on_may_change(data: st.DataObject, ingresses: list[Object]) -> None:
    """Services and Secrets that come, change and go: the Ingresses that need them are as after a fresh start."""
    there: dict[tuple[str, Key], Object | None] = {}
    cluster = Cluster(
        service=lambda key: there.get(("Service", key)),
        secret=lambda key: there.get(("Secret", key)),
        folder=Path("/x"),
    )
    known = {Key("default", each["metadata"]["name"]): each for each in ingresses}
    grown = of_all(ingresses, [CLASS], cluster)
    for _ in range(4):
        kind, key = data.draw(st.sampled_from(sorted(DEPENDENCIES)))
        there[kind, key] = data.draw(st.sampled_from(DEPENDENCIES[kind, key]))
        grown.change({each: known[each] for each in grown.needing(kind, key)})
        fresh = of_all(ingresses, [CLASS], cluster)
        assert tables(grown) == tables(fresh)
        assert problems(grown) == problems(fresh)


def tables(hosts: Hosts) -> dict[str, Object]:
    return {name: table.of_host(host) for name, host in hosts.hosts.items()}


def problems(hosts: Hosts) -> dict[Key, list[str]]:
    return {key: sorted(each.message for each in hosts.problems(key)) for key in hosts.read}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(ingresses(), st.booleans()), min_size=1, max_size=3), max_size=4))
def test_changes_come_to_the_same_as_a_fresh_start(history: list[list[tuple[Object, bool]]]) -> None:
    """Rules and problems alike; and the tables that nginx is told of are all that differ from those before."""
    now: dict[Key, Object] = {}
    grown = of_all([], [CLASS], CLUSTER)
    wanted = Wanted(lambda _: [])
    for name, host in grown.hosts.items():
        wanted.host("s", name, host)
    for changes in history:
        known, _ = dict(wanted.tables), wanted.taken()
        changed: dict[Key, Object | None] = {}
        for ingress, there in changes:
            changed[Key("default", ingress["metadata"]["name"])] = ingress if there else None
        now |= {key: ingress for key, ingress in changed.items() if ingress is not None}
        now = {key: ingress for key, ingress in now.items() if changed.get(key, ingress) is not None}
        for name in grown.change(changed):
            wanted.host("s", name, grown.hosts.get(name))
        fresh = of_all(now.values(), [CLASS], CLUSTER)
        assert tables(grown) == tables(fresh)
        assert problems(grown) == problems(fresh)
        anew = Wanted(lambda _: [])
        for name, host in fresh.hosts.items():
            anew.host("s", name, host)
        assert wanted.tables == anew.tables
        assert wanted.changed.keys() == {
            key for key in {*known, *wanted.tables} if known.get(key) != wanted.tables.get(key)
        }, "what is told"


def test_a_canary_that_goes_takes_no_traffic_any_more() -> None:
    """The Ingress that it stood beside does not change by that."""
    canary = one(1)
    canary["metadata"]["annotations"] = {PREFIX + "canary": "true", PREFIX + "canary-weight": "10"}
    canary["spec"]["rules"][0]["host"] = "h0.test"
    made = of_all([one(0), canary], [CLASS], CLUSTER)
    assert made.hosts["h0.test"].rules[0].canaries
    made.change({Key("default", "i1"): None})
    assert not made.hosts["h0.test"].rules[0].canaries


def test_what_goes_and_comes_back_is_not_told() -> None:
    """One host lets go of a backend and another takes it, in either order."""
    made = of_all([one(0), one(1)], [CLASS], CLUSTER)
    wanted = Wanted(lambda _: [])
    wanted.host("s", "h0.test", made.hosts["h0.test"])
    wanted.taken()
    wanted.host("s", "h0.test", None)
    wanted.host("s", "h1.test", made.hosts["h1.test"])
    assert wanted.changed.keys() == {"h:s:h0.test", "h:s:h1.test"}


def test_a_change_concerns_the_hosts_that_it_names_only() -> None:
    """However many there are."""
    made = of_all((one(number) for number in range(50)), [CLASS], CLUSTER)
    untouched = {name: host for name, host in made.hosts.items() if name != "h7.test"}
    assert made.change({Key("default", "i7"): one(7, path="/other")}) == {"h7.test"}
    assert all(made.hosts[name] is host for name, host in untouched.items())


def one(number: int, path: str = "/") -> Object:
    """An Ingress with a host of its own."""
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    http = {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}
    spec = {"ingressClassName": "nginx", "rules": [{"host": f"h{number}.test", "http": http}]}
    return {"kind": "Ingress", "metadata": {"namespace": "default", "name": f"i{number}"}, "spec": spec}
