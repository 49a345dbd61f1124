"""The Kubernetes DNS specification 1.1.0, read with an implementation of DNS that is not ours."""

import dnslib
import pytest

from pynetes.dns import wire
from pynetes.dns.answers import Answers
from pynetes.dns.tracker import Tracker
from tests.dns.objects import DOMAIN, endpoint_slice, namespace, question, service


class Cluster:
    """A zone that is fed with objects and asked questions."""

    def __init__(self) -> None:
        self.answers = Answers(DOMAIN)
        self.tracker = Tracker(self.answers)
        self.tracker.namespace(namespace())

    def ask(self, name: str, kind: str = "A") -> dnslib.DNSRecord:
        query = wire.parse(question(name, kind))
        key = query.question.lower()
        answer = self.answers.find(key) or self.answers.make(key, query.name, query.type)
        assert answer is not None, "not for this zone to answer"
        record = dnslib.DNSRecord.parse(wire.respond(query, answer.next(), udp=False))
        assert str(record.q.qname) == name.rstrip(".") + "." and record.header.aa
        return record

    def data(self, name: str, kind: str = "A") -> list[str]:
        return sorted(str(each.rdata) for each in self.ask(name, kind).rr)

    def code(self, name: str, kind: str = "A") -> str:
        record = self.ask(name, kind)
        assert not record.rr and [each.rtype for each in record.auth] == [dnslib.QTYPE.SOA]
        return str(dnslib.RCODE[record.header.rcode])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_2_2_the_schema_version(cluster: Cluster) -> None:
    """dns-version says which version of the specification this is."""
    assert cluster.data("dns-version.cluster.local", "TXT") == ['"1.1.0"']


def test_2_3_a_service_with_a_cluster_ip(cluster: Cluster) -> None:
    """A, SRV of named ports with the address beside it, PTR; no record for an unnamed port."""
    cluster.tracker.service(service("kubernetes"))
    assert cluster.data("kubernetes.default.svc.cluster.local") == ["10.3.0.1"]
    record = cluster.ask("_https._tcp.kubernetes.default.svc.cluster.local", "SRV")
    assert [str(each.rdata) for each in record.rr] == ["0 100 443 kubernetes.default.svc.cluster.local."]
    assert [(str(each.rname), str(each.rdata)) for each in record.ar] == [
        ("kubernetes.default.svc.cluster.local.", "10.3.0.1")
    ]
    assert cluster.data("1.0.3.10.in-addr.arpa", "PTR") == ["kubernetes.default.svc.cluster.local."]
    assert cluster.code("_._tcp.kubernetes.default.svc.cluster.local", "SRV") == "NXDOMAIN"


def test_2_3_dual_stack(cluster: Cluster) -> None:
    """A and AAAA, each with its own PTR."""
    cluster.tracker.service(service("web", ips=("10.3.0.1", "fd00::1")))
    assert cluster.data("web.default.svc.cluster.local", "AAAA") == ["fd00::1"]
    reverse = "1." + "0." * 27 + "0.0.d.f.ip6.arpa"
    assert cluster.data(reverse, "PTR") == ["web.default.svc.cluster.local."]


def test_2_3_endpoints_of_a_cluster_ip_service_have_no_names(cluster: Cluster) -> None:
    """Only the Service itself has."""
    cluster.tracker.service(service("web"))
    cluster.tracker.endpoint_slice(endpoint_slice("web", ("10.244.0.7", "pet")))
    assert cluster.code("pet.web.default.svc.cluster.local") == "NXDOMAIN"


def test_2_4_a_headless_service(cluster: Cluster) -> None:
    """All ready endpoints under the Service's name, each under its own, SRV for each, PTR for each."""
    cluster.tracker.service(service("db", ips=()))
    ready = endpoint_slice("db", ("10.244.0.7", "my-pet"), ("10.244.1.8", ""), ("10.244.2.9", "late", False))
    cluster.tracker.endpoint_slice(ready)
    assert cluster.data("db.default.svc.cluster.local") == ["10.244.0.7", "10.244.1.8"]
    assert cluster.data("my-pet.db.default.svc.cluster.local") == ["10.244.0.7"]
    assert cluster.data("10-244-1-8.db.default.svc.cluster.local") == ["10.244.1.8"]
    assert cluster.code("late.db.default.svc.cluster.local") == "NXDOMAIN"
    record = cluster.ask("_https._tcp.db.default.svc.cluster.local", "SRV")
    assert sorted(str(each.rdata) for each in record.rr) == [
        "0 100 8443 10-244-1-8.db.default.svc.cluster.local.",
        "0 100 8443 my-pet.db.default.svc.cluster.local.",
    ]
    assert sorted(str(each.rdata) for each in record.ar) == ["10.244.0.7", "10.244.1.8"]
    assert cluster.data("7.0.244.10.in-addr.arpa", "PTR") == ["my-pet.db.default.svc.cluster.local."]


def test_2_4_a_headless_service_without_ready_endpoints(cluster: Cluster) -> None:
    """NXDOMAIN, as the specification wants it."""
    cluster.tracker.service(service("db", ips=()))
    cluster.tracker.endpoint_slice(endpoint_slice("db", ("10.244.0.7", "late", False)))
    assert cluster.code("db.default.svc.cluster.local") == "NXDOMAIN"


def test_2_4_endpoints_spread_over_slices(cluster: Cluster) -> None:
    """Two slices count as one set; IPv6 endpoints answer AAAA."""
    cluster.tracker.service(service("db", ips=()))
    cluster.tracker.endpoint_slice(endpoint_slice("db", ("10.244.0.7", "")))
    cluster.tracker.endpoint_slice(endpoint_slice("db", ("10.244.0.8", ""), name="db-2"))
    cluster.tracker.endpoint_slice(endpoint_slice("db", ("fd02::1", "pet"), name="db-6", family=6))
    assert cluster.data("db.default.svc.cluster.local") == ["10.244.0.7", "10.244.0.8"]
    assert cluster.data("pet.db.default.svc.cluster.local", "AAAA") == ["fd02::1"]
    assert cluster.code("pet.db.default.svc.cluster.local", "A") == "NOERROR"


def test_2_5_external_name(cluster: Cluster) -> None:
    """A CNAME; one that points into the cluster is followed at once."""
    cluster.tracker.service(service("foo", ips=(), type="ExternalName", externalName="www.example.com"))
    assert cluster.data("foo.default.svc.cluster.local", "CNAME") == ["www.example.com."]
    assert cluster.data("foo.default.svc.cluster.local") == ["www.example.com."]
    cluster.tracker.service(service("web"))
    cluster.tracker.service(service("bar", ips=(), type="ExternalName", externalName="web.default.svc.cluster.local"))
    record = cluster.ask("bar.default.svc.cluster.local")
    assert [(str(each.rname), str(each.rdata)) for each in record.rr] == [
        ("bar.default.svc.cluster.local.", "web.default.svc.cluster.local."),
        ("web.default.svc.cluster.local.", "10.3.0.1"),
    ]


def test_2_5_external_names_that_point_at_each_other(cluster: Cluster) -> None:
    """A circle ends; the client sees the links that were followed."""
    for name, other in (("a", "b"), ("b", "a")):
        target = f"{other}.default.svc.cluster.local"
        cluster.tracker.service(service(name, ips=(), type="ExternalName", externalName=target))
    assert 0 < len(cluster.ask("a.default.svc.cluster.local").rr) < 20


def test_2_6_pod_names(cluster: Cluster) -> None:
    """The dashed address is the answer, in namespaces that exist; other types and other words are absent."""
    assert cluster.data("10-244-0-7.default.pod.cluster.local") == ["10.244.0.7"]
    assert cluster.data("fd00--7.default.pod.cluster.local", "AAAA") == ["fd00::7"]
    assert cluster.code("10-244-0-7.default.pod.cluster.local", "AAAA") == "NOERROR"
    assert cluster.code("10-244-0-7.nowhere.pod.cluster.local") == "NXDOMAIN"
    assert cluster.code("some-word.default.pod.cluster.local") == "NXDOMAIN"
    cluster.tracker.namespace(namespace("nowhere"))
    assert cluster.data("10-244-0-7.nowhere.pod.cluster.local") == ["10.244.0.7"]
    cluster.tracker.namespace(namespace("nowhere"), None, True)
    assert cluster.code("10-244-0-7.nowhere.pod.cluster.local") == "NXDOMAIN"


def test_absence_of_a_type_is_not_absence_of_a_name(cluster: Cluster) -> None:
    """NODATA for another type and for names between; NXDOMAIN, also for the search list's detours."""
    cluster.tracker.service(service("web"))
    for name in ("web.default.svc.cluster.local", "default.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        assert cluster.code(name, "AAAA") == "NOERROR"
    for name in ("nope.default.svc.cluster.local", "web.nope.svc.cluster.local", "example.com.svc.cluster.local"):
        assert cluster.code(name) == "NXDOMAIN"


def test_the_zone_says_who_serves_it(cluster: Cluster) -> None:
    """SOA and NS at the top; the name server's address is the DNS Service's."""
    cluster.tracker.service(service("kube-dns", ips=("10.96.0.10",), namespace="kube-system"))
    assert cluster.data("cluster.local", "NS") == ["ns.dns.cluster.local."]
    assert cluster.data("ns.dns.cluster.local") == ["10.96.0.10"]
    assert str(cluster.ask("cluster.local", "SOA").rr[0].rdata).startswith("ns.dns.cluster.local. hostmaster")


def test_names_are_compared_without_case_and_echoed_as_asked(cluster: Cluster) -> None:
    """The question comes back letter by letter (the fixture checks), whatever the case."""
    cluster.tracker.service(service("web"))
    for name in ("web.default.svc.cluster.local", "wEb.DEFAULT.svc.Cluster.LOCAL"):
        assert cluster.data(name) == ["10.3.0.1"]


def test_every_change_shows_in_the_next_answer(cluster: Cluster) -> None:
    """Absent, present, changed, beside a SRV record, through a CNAME, and absent again: no stale answer is kept."""
    name = "web.default.svc.cluster.local"
    cluster.tracker.service(service("alias", ips=(), type="ExternalName", externalName=name))
    assert cluster.code(name) == "NXDOMAIN" and cluster.code(f"_https._tcp.{name}", "SRV") == "NXDOMAIN"
    for ip in ("10.3.0.1", "10.3.0.2"):
        cluster.tracker.service(service("web", ips=(ip,)))
        assert cluster.data(name) == [ip]
        assert [str(each.rdata) for each in cluster.ask(f"_https._tcp.{name}", "SRV").ar] == [ip]
        assert ip in cluster.data("alias.default.svc.cluster.local")
    cluster.tracker.service(service("web"), None, True)
    assert cluster.code(name) == "NXDOMAIN"
    assert cluster.data("alias.default.svc.cluster.local") == [f"{name}."]


def test_several_addresses_take_turns(cluster: Cluster) -> None:
    """Clients that use the first one only are spread over all."""
    cluster.tracker.service(service("db", ips=()))
    cluster.tracker.endpoint_slice(endpoint_slice("db", *((f"10.244.0.{n}", "") for n in range(1, 4))))
    first = {str(cluster.ask("db.default.svc.cluster.local").rr[0].rdata) for _ in range(6)}
    assert first == {"10.244.0.1", "10.244.0.2", "10.244.0.3"}


def test_names_outside_are_not_answered_here(cluster: Cluster) -> None:
    """They go to the node's name servers, as do reverse names of addresses nobody here has."""
    for name in ("example.com", "9.9.9.9.in-addr.arpa", "xcluster.local"):
        query = wire.parse(question(name))
        assert cluster.answers.make(query.question.lower(), query.name, query.type) is None


def test_an_address_in_two_headless_services_has_both_names(cluster: Cluster) -> None:
    """And keeps the other when one of them goes."""
    for name in ("one", "two"):
        cluster.tracker.service(service(name, ips=()))
        cluster.tracker.endpoint_slice(endpoint_slice(name, ("10.244.0.7", "pet")))
    names = ["pet.one.default.svc.cluster.local.", "pet.two.default.svc.cluster.local."]
    assert cluster.data("7.0.244.10.in-addr.arpa", "PTR") == names
    cluster.tracker.service(service("one", ips=()), None, True)
    assert cluster.data("7.0.244.10.in-addr.arpa", "PTR") == names[1:]
