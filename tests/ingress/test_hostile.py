"""Whatever a user writes: nothing of it becomes nginx configuration, and nobody else's Ingress suffers."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pynetes.ingress import annotations, table
from pynetes.ingress.hosts import Hosts, of_all
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.nginx import configuration
from pynetes.ingress.nginx.configuration import ALWAYS, INGRESS_SCOPE, Listener, Settings
from pynetes.machinery.meta import Key, Object
from tests.ingress.conftest import Edge

#: What would matter if it were pasted into a configuration, a header, a template or Lua.
EVIL = st.sampled_from(
    [
        *("}", "{", ";", "\n", "\r\n", "#", '"', "'", "\\", "$", "${host}", "`", "\0", "lua_code", "]]", "]=]"),
        *("include /etc/passwd;", "} server { listen 1; }", "content_by_lua_block { os.execute('id') }"),
        *("proxy_pass http://evil;", "../..", "%0d%0a"),
    ]
)
TEXT = st.lists(
    EVIL | st.text(max_size=8) | st.sampled_from(["/", "/a", "http://a.test", "10m", "true"]), max_size=6
).map("".join)
#: Lists may be empty: they list nothing.
EMPTY = {
    name
    for name in annotations.KNOWN
    if name.endswith(("-range", "-whitelist", "-alias", "-headers", "-methods", "-origin"))
}
EVIL_KEY = Key("default", "evil")
CLASS: Object = {"kind": "IngressClass", "metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
BASE = Settings(listeners=(Listener(80, INGRESS_SCOPE), Listener(443, INGRESS_SCOPE, tls=True)))


def ingress(name: str, path: str, kind: str, said: dict[str, str], host: str = "a.test") -> Object:
    """One path to the Service s."""
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    prefixed = {annotations.PREFIX + key: text for key, text in said.items()}
    rule = {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}
    return {"kind": "Ingress", "metadata": {"namespace": "default", "name": name, "annotations": prefixed},
            "spec": {"ingressClassName": "nginx", "rules": [rule]}}  # fmt: skip


def compiled(*objects: Object) -> Hosts:
    """The rules of these Ingresses."""
    return of_all(objects, [CLASS], Cluster(service=lambda _: None, secret=lambda _: None, folder=Path("/x")))


@settings(max_examples=300, deadline=None)
@given(
    said=st.dictionaries(st.sampled_from(sorted(annotations.KNOWN)), TEXT, max_size=4),
    path=TEXT.map(lambda text: "/" + text),
    kind=st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]),
)
def test_no_value_reaches_the_configuration(said: dict[str, str], path: str, kind: str) -> None:
    """The configuration's text depends on numbers and enumerations alone: it has only words of our own."""
    result = compiled(ingress("evil", path, kind, said))
    locations = {location for host in result.hosts.values() for location in host.locations()}
    text = configuration.render(Settings(listeners=BASE.listeners, locations=ALWAYS | locations), Path("/run/x"))
    ours = set(configuration.render(BASE, Path("/run/x")).split())
    for word in set(text.split()) - ours:
        assert configuration_word(word), word


def configuration_word(word: str) -> bool:
    """Sizes, switches, names of locations, and the mark."""
    plain = word.rstrip(";,").lstrip("@{").replace("_", "").replace('require("feed").mark', "")
    return plain.isascii() and plain.replace('"', "").isalnum()


@settings(max_examples=200, deadline=None)
@given(said=st.dictionaries(st.sampled_from(sorted(annotations.KNOWN)), TEXT, max_size=4), path=TEXT)
def test_a_bad_one_changes_nothing_for_others(said: dict[str, str], path: str) -> None:
    """Beside any other Ingress of another host, a good one has the very same table; whatever comes is JSON."""
    good = ingress("good", "/fine", "Prefix", {}, host="good.test")
    alone = table.of_host(compiled(good).hosts["good.test"])
    both = compiled(good, ingress("evil", "/" + path, "ImplementationSpecific", said))
    assert table.of_host(both.hosts["good.test"]) == alone
    for host in both.hosts.values():
        orjson.loads(orjson.dumps(table.of_host(host)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewrite-target", "/$1;\n return 200"), ("rewrite-target", "/$host"), ("app-root", "//\r\nSet-Cookie: a=b"),
        ("permanent-redirect", "javascript:alert(1)"), ("permanent-redirect", "https://a\r\nX: y"),
        ("upstream-vhost", "a b"), ("auth-realm", 'a"; proxy_pass http://evil; "'), ("auth-secret", "../other"),
        ("auth-secret", "kube-system/admin"), ("whitelist-source-range", "10.0.0.0/8; allow all"),
        ("proxy-body-size", "8m; lua_code_cache off"), ("proxy-read-timeout", "-1"), ("cors-allow-origin", "https://a\nb"),
        ("cors-allow-headers", "A\r\nB: c"), ("session-cookie-name", "a=b; Domain=x"), ("session-cookie-path", "/;x\n"),
        ("backend-protocol", "FCGI"), ("canary-by-header-pattern", "(?=a)"), ("canary-weight", "1e9"),
        ("server-alias", "~^evil"), ("configuration-snippet", "return 200;"), ("server-snippet", "x"),
        ("auth-url", "http://auth"), ("auth-tls-secret", "x/y"),
    ],
)  # fmt: skip
def test_values_outside_their_grammar_are_refused(name: str, value: str) -> None:
    """The Ingress is left out, and its author is told which annotation it was."""
    result = compiled(ingress("evil", "/", "Prefix", {name: value}))
    (problem,) = result.problems(EVIL_KEY)
    assert not result.read[EVIL_KEY].served
    assert name in problem.message
    assert problem.left_out


@pytest.mark.parametrize("name", sorted(annotations.KNOWN))
def test_every_annotation_has_a_grammar(name: str) -> None:
    """What would end a directive, a header or a string is refused by each; so is what has no end."""
    empty = [] if name in EMPTY else [""]
    for value in (*empty, 'x"; } server { listen 1; }', "1\r\nX-Evil: 1", "$(id)\n", "x\0y", "é" * 3, "9" * 5000):
        result = compiled(ingress("evil", "/", "Prefix", {name: value}))
        assert not result.read[EVIL_KEY].served, value
        assert any(name in problem.message for problem in result.problems(EVIL_KEY))


def test_timeouts_reach_the_tables() -> None:
    """Connect, send and read, each where nginx's balancer takes it; what is not said is ingress-nginx's default."""
    said = {"proxy-connect-timeout": "3", "proxy-send-timeout": "7s"}
    (rule,) = compiled(ingress("evil", "/", "Prefix", said)).hosts["a.test"].rules
    assert rule.policy["timeouts"] == {"connect": 3, "send": 7, "read": 60}


@pytest.mark.parametrize("path", ["/(a", "/a(?=b)", "/(a)\\1", "/x" * 400, "/a\nb"])
def test_bad_expressions_are_refused(path: str) -> None:
    """Not a regular expression, or one that could be anything."""
    assert not compiled(ingress("evil", path, "ImplementationSpecific", {"use-regex": "true"})).read[EVIL_KEY].served


def test_unknown_annotations_are_named_and_ignored() -> None:
    """What protects nothing may be missing."""
    result = compiled(ingress("odd", "/", "Prefix", {"enable-opentelemetry": "true"}))
    assert result.read[Key("default", "odd")].served
    assert "enable-opentelemetry is not known" in result.problems(Key("default", "odd"))[0].message


@pytest.mark.root
async def test_an_expression_that_explodes_gives_up(edge: Edge) -> None:
    """Catastrophic backtracking ends at nginx's limit; the request is not found and the worker lives."""
    await edge.server("s")
    edge.ingress("evil", ("a.test", "/(a+)+$", "ImplementationSpecific", "s"), use_regex="true")
    edge.ingress("good", ("b.test", "/", "Prefix", "s"))
    await edge.settled()
    assert (await edge.get("a.test", "/" + "a" * 60 + "!")).status == 404
    assert (await edge.get("b.test")).status == 200


@pytest.mark.root
async def test_strange_requests(edge: Edge) -> None:
    """Hosts and paths of a client's own making are answered, not stumbled over."""
    await edge.server("s")
    edge.ingress("good", ("b.test", "/", "Prefix", "s"))
    await edge.settled()
    for host in ("a." * 120 + "test", "*", "..", "[::1]", "b.test.", "-"):
        assert (await edge.get(host)).status in (200, 400, 404), host
    for path in ("/%00", "/%0d%0aSet-Cookie:a=b", "/%ff%fe", "/" + "x/" * 3000, "/?" + "a=b&" * 500):
        assert (await edge.get("b.test", path)).status in (200, 400, 404), path
