"""The difference between two states of rules, and the text it becomes."""

from pynetes.proxy import iptables, model, nftables
from pynetes.proxy.model import Forward
from pynetes.proxy.nftables import Settings
from pynetes.proxy.rules import Place, Rules, State
from tests.proxy.objects import endpoint, endpoint_slice, service

SETTINGS = Settings(cluster_cidrs=("10.244.0.0/16",))
HERE = Place("service-ips", "192.0.2.1 . tcp . 80")


def forward(*ips: str, **spec: object) -> Forward:
    (got,) = model.forwards(service(**spec), [endpoint_slice(*map(endpoint, ips))], node="here")  # type: ignore[arg-type]
    return got


def test_nothing_is_sent_for_what_stays_the_same() -> None:
    """The same rules again are no difference."""
    state = State()
    rules = nftables.render(forward("10.244.0.1"), SETTINGS)
    assert state.update({"a": rules})
    assert not state.update({"a": nftables.render(forward("10.244.0.1"), SETTINGS)})


def test_a_new_endpoint_costs_one_rule() -> None:
    """Neither other chains nor the maps are touched; on this node it also becomes a possible hairpin."""
    state = State()
    state.update({"a": nftables.render(forward("10.244.0.1", "10.244.0.2"), SETTINGS)})
    difference = state.update({"a": nftables.render(forward("10.244.0.1", "10.244.0.2", "10.244.0.3"), SETTINGS)})
    assert difference.new_claims == {Place("hairpins", "10.244.0.3 . 10.244.0.3"): ""}
    assert len(difference.chains) == 1 and not (difference.new_chains or difference.gone_claims)
    verbs = [line.split()[:2] for line in nftables.script(4, difference)]
    assert verbs == [["flush", "chain"], ["add", "rule"], ["add", "rule"], ["add", "element"]]


def test_affinity_costs_a_chain_for_each_endpoint() -> None:
    """The chains of other endpoints, and with them what is remembered of clients, stay untouched."""
    state = State()
    state.update({"a": nftables.render(forward("10.244.0.1", sessionAffinity="ClientIP"), SETTINGS)})
    new = nftables.render(forward("10.244.0.1", "10.244.0.2", sessionAffinity="ClientIP"), SETTINGS)
    difference = state.update({"a": new})
    assert len(difference.new_chains) == 1 and len(difference.chains) == 2 and len(difference.new_sets) == 1
    assert not (difference.gone_chains or difference.gone_sets)


def test_two_claims_on_one_place_never_collide() -> None:
    """The first name has it; when that goes the other one gets it; a second claimant alone changes nothing."""
    state = State()
    assert state.update({"b": Rules(claims={HERE: "goto b"})}).new_claims == {HERE: "goto b"}
    difference = state.update({"a": Rules(claims={HERE: "goto a"})})
    assert (difference.gone_claims, difference.new_claims) == ({HERE: "goto b"}, {HERE: "goto a"})
    assert not state.update({"c": Rules(claims={HERE: "goto c"})})
    difference = state.update({"a": None})
    assert (difference.gone_claims, difference.new_claims) == ({HERE: "goto a"}, {HERE: "goto b"})
    assert state.update({"b": None, "c": None}).gone_claims == {HERE: "goto b"}


def test_a_changed_affinity_time_gets_a_new_set() -> None:
    """A set cannot change its time-out, so the old one goes and the endpoint remembers in the other."""
    state = State()
    config = {"clientIP": {"timeoutSeconds": 5}}
    state.update({"a": nftables.render(forward("10.244.0.1", sessionAffinity="ClientIP"), SETTINGS)})
    difference = state.update(
        {
            "a": nftables.render(
                forward("10.244.0.1", sessionAffinity="ClientIP", sessionAffinityConfig=config), SETTINGS
            )
        }
    )
    assert len(difference.new_sets) == len(difference.gone_sets) == 1
    assert "timeout 5s" in next(iter(difference.new_sets.values()))


def test_without_endpoints_there_is_a_refusal_and_no_chain() -> None:
    """Refused when there are none at all, dropped when the policy keeps traffic from those elsewhere."""
    refused = nftables.render(forward(), SETTINGS)
    assert not refused.chains
    assert refused.claims[Place("no-endpoint-services", "10.96.0.10 . tcp . 80")] == "goto reject-chain"
    (kept,) = model.forwards(
        service(internalTrafficPolicy="Local"),
        [endpoint_slice(endpoint("10.244.1.1", node="there"))],
        node="here",
    )
    assert nftables.render(kept, SETTINGS).claims[Place("no-endpoint-services", "10.96.0.10 . tcp . 80")] == "drop"
    assert iptables.render(kept, SETTINGS).claims == {
        Place("filter KUBE-SERVICES", "-d 10.96.0.10/32 -p tcp -m tcp --dport 80"): "-j DROP"
    }


def test_iptables_deletes_before_it_inserts_and_removes_chains_last() -> None:
    """One section per table, in an order that iptables-restore accepts in one transaction."""
    state = State()
    state.update({"a": iptables.render(forward("10.244.0.1"), SETTINGS)})
    text = iptables.script(state.update({"a": iptables.render(forward(), SETTINGS)}))
    nat, filters = text.split("*filter")
    verbs = [line.split()[0] for line in nat.splitlines()]
    assert verbs == ["*nat", ":" + verbs[1][1:], ":" + verbs[2][1:], "-D", "-X", "-X", "COMMIT"]
    assert "-I KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j REJECT" in filters


def test_names_stay_within_the_kernels_limits() -> None:
    """Whatever Services and ports are called, and IPv6 addresses included."""
    long = "x" * 63
    given = service(long, ports=[{"name": "p" * 15, "port": 80}], cluster_ip="fd00::1", sessionAffinity="ClientIP")
    slices = endpoint_slice(
        endpoint("2001:db8:1111:2222:3333:4444:5555:6666"),
        service=long, ports=[{"name": "p" * 15, "port": 80}], family=6,
    )  # fmt: skip
    given["metadata"]["namespace"] = slices["metadata"]["namespace"] = "n" * 63
    (got,) = model.forwards(given, [slices], node="here")
    rules = nftables.render(got, SETTINGS)
    assert all(len(name) <= 127 and ":" not in name for name in (*rules.chains, *rules.sets))
    assert len(rules.chains) == 2
    assert all(len(name) <= 28 for name in iptables.render(got, SETTINGS).chains)
