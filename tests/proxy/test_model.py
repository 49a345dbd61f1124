"""Which endpoints a Service's traffic goes to."""

from typing import Any

from pynetes.machinery.meta import Key, Object
from pynetes.proxy import model
from pynetes.proxy.model import Forward, Target
from pynetes.proxy.tracker import Tracker
from tests.proxy.objects import endpoint, endpoint_slice, service

A, B, C = "10.244.0.1", "10.244.1.1", "10.244.2.1"


def one(given: Object, *slices: Object) -> Forward:
    (forward,) = model.forwards(given, slices, node="here")
    return forward


def ips(targets: tuple[Target, ...]) -> list[str]:
    return [target.ip for target in targets]


def test_ready_endpoints_get_the_traffic() -> None:
    """Those not ready get none; a condition that is not given counts as ready."""
    got = one(service(), endpoint_slice(endpoint(A), endpoint(B, ready=False), endpoint(C, ready=True)))
    assert got.cluster == (Target(A, 8080), Target(C, 8080))
    assert got.name == "default/web:http" and (got.cluster_ip, got.port, got.protocol) == ("10.96.0.10", 80, "tcp")


def test_terminating_endpoints_serve_only_when_no_other_is_left() -> None:
    """Serving and terminating is the last resort, for each of the two policies by itself."""
    leaving = endpoint(A, ready=False, serving=True, terminating=True)
    broken = endpoint(C, ready=False, serving=False, terminating=True)
    elsewhere = endpoint(B, node="there", ready=True)
    assert ips(one(service(), endpoint_slice(leaving, broken)).cluster) == [A]
    both = one(service(), endpoint_slice(leaving, elsewhere, broken))
    assert ips(both.cluster) == [B] and ips(both.local) == [A]


def test_local_means_this_node() -> None:
    """internalTrafficPolicy Local keeps cluster IP traffic here; externalTrafficPolicy says nothing about that."""
    slices = endpoint_slice(endpoint(A), endpoint(B, node="there"))
    internal = one(service(internalTrafficPolicy="Local"), slices)
    external = one(service(type="NodePort", externalTrafficPolicy="Local"), slices)
    assert ips(internal.internal_targets) == [A] and ips(internal.external_targets) == [A, B]
    assert ips(external.internal_targets) == [A, B] and ips(external.external_targets) == [A]


def test_ports_are_matched_by_name_and_protocol() -> None:
    """A slice may resolve the same name to another number, and ports of another name or protocol do not count."""
    ports: list[Object] = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]
    slices = [
        endpoint_slice(endpoint(A), name="a", ports=[{"name": "dns", "port": 5353, "protocol": "UDP"}]),
        endpoint_slice(endpoint(B), name="b", ports=[{"name": "dns", "port": 1053, "protocol": "UDP"}]),
        endpoint_slice(endpoint(C), name="c", ports=[{"name": "dns-tcp", "port": 5353, "protocol": "SCTP"}]),
    ]
    udp, tcp = model.forwards(service(ports=ports), slices, node="here")
    assert udp.cluster == (Target(A, 5353), Target(B, 1053))
    assert tcp.cluster == ()


def test_each_family_gets_a_forward_of_its_own() -> None:
    """Dual stack: IPv6 endpoints behind the IPv6 cluster IP, external addresses by family too."""
    given = service(clusterIPs=["10.96.0.10", "fd00::10"], externalIPs=["192.0.2.7", "fd01::7"])
    v4, v6 = model.forwards(
        given,
        [endpoint_slice(endpoint(A)), endpoint_slice(endpoint("fd02::1"), name="six", family=6)],
        node="here",
    )
    assert (v4.family, ips(v4.cluster), v4.external_ips) == (4, [A], ("192.0.2.7",))
    assert (v6.family, ips(v6.cluster), v6.external_ips) == (6, ["fd02::1"], ("fd01::7",))


def test_services_that_are_not_ours() -> None:
    """Headless, ExternalName and those labelled for another proxy have no forwards."""
    others: list[dict[str, Any]] = [{"clusterIP": "None", "clusterIPs": ["None"]}, {"type": "ExternalName"}]
    for spec in others:
        assert list(model.forwards({**service(), "spec": {**service()["spec"], **spec}}, [], node="here")) == []
    labelled = service()
    labelled["metadata"]["labels"] = {model.PROXY_NAME_LABEL: "cilium"}
    assert list(model.forwards(labelled, [], node="here")) == []


def test_load_balancer_addresses() -> None:
    """Only type LoadBalancer uses its status; a Proxy-mode address is left to the balancer; ranges are merged."""
    given = service(
        type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", " 10.1.0.0/16", "192.0.2.0/24", "fd00::/8"]
    )
    given["status"] = {
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "x"}]}
    }
    got = one(given)
    assert got.load_balancer_ips == ("192.0.2.1",) and got.source_ranges == ("10.0.0.0/8", "192.0.2.0/24")
    given["spec"]["type"] = "NodePort"
    assert one(given).load_balancer_ips == ()


def test_affinity_has_upstreams_default() -> None:
    """Three hours unless said otherwise."""
    assert one(service(sessionAffinity="ClientIP")).affinity == 10800
    config = {"clientIP": {"timeoutSeconds": 5}}
    assert one(service(sessionAffinity="ClientIP", sessionAffinityConfig=config)).affinity == 5
    assert one(service(sessionAffinity="None")).affinity == 0


def test_the_tracker_hands_out_each_change_once() -> None:
    """A slice before its Service, an unimportant change, a slice that moves, and the end of both."""
    tracker = Tracker("here")
    tracker.set_slice(endpoint_slice(endpoint(A)))
    assert tracker.take() == {}
    tracker.set_service(service())
    ((old, new),) = tracker.take().values()
    assert old is None and new is not None and ips(new.cluster) == [A]
    tracker.set_service({**service(), "status": {"conditions": []}})
    assert tracker.dirty and tracker.take() == {}
    tracker.set_slice(endpoint_slice(endpoint(A), service="other", name="web-abcde"))
    ((old, new),) = tracker.take().values()
    assert old is not None and new is not None and (ips(old.cluster), ips(new.cluster)) == ([A], [])
    assert len(tracker.all()) == 1
    tracker.delete_slice(Key("default", "web-abcde"))
    tracker.delete_service(Key("default", "web"))
    ((old, new),) = tracker.take().values()
    assert old is not None and new is None and tracker.all() == {}
