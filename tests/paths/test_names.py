"""The DNS question that path checks ask, against a server of another make."""

import dnslib

from pynetes.paths.checks import names


def test_the_question_is_understood() -> None:
    """A library reads the query as it was meant."""
    query = dnslib.DNSRecord.parse(names._question("web.shop.svc.cluster.local"))
    assert str(query.q.qname) == "web.shop.svc.cluster.local."
    assert query.q.qtype == dnslib.QTYPE.A


def test_the_address_is_found_behind_an_alias() -> None:
    """A CNAME before the address does not hide it; no answer is no address."""
    query = dnslib.DNSRecord.parse(names._question("alias.example."[:-1]))
    reply = query.reply()
    assert names._address_in(reply.pack()) == ""
    reply.add_answer(*dnslib.RR.fromZone("alias.example. 30 CNAME real.example."))
    reply.add_answer(*dnslib.RR.fromZone("real.example. 30 A 10.96.0.7"))
    assert names._address_in(reply.pack()) == "10.96.0.7"
