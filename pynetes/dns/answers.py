"""From a question to an encoded answer, for names that the zone has or would have; and the memory of such answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from pynetes.dns import records, wire
from pynetes.dns.records import Name, Records
from pynetes.dns.wire import Body
from pynetes.dns.zone import Zone

TTL = 30
NEGATIVE_TTL = 5
VERSION_TTL = 28800
#: A set of several addresses is answered in rotating order; more variants than this are not worth their memory.
ROTATIONS = 8
#: Names nobody has may be asked for without end; then the memory begins anew.
MEMORY = 20000
#: How many CNAMEs are followed within the zone.
CHAIN = 8


@dataclass(slots=True)
class Answer:
    """An encoded answer in its rotations."""

    code: int
    text: str
    bodies: list[Body]
    turn: int = 0
    #: An outside name whose addresses belong into the answer: the target of an ExternalName.
    outside: str = ""
    #: Until a change of the zone touches it.
    alive: bool = True

    def next(self) -> Body:
        """The body to send now."""
        self.turn = (self.turn + 1) % len(self.bodies)
        return self.bodies[self.turn]


class Answers:
    """Answers for the cluster's names. `find` is the quick way, `make` the other; `update` keeps both right."""

    def __init__(self, domain: str) -> None:
        self.zone = Zone(domain)
        self._known: dict[bytes, Answer] = {}
        #: Encoded name → the keys of answers that use it.
        self._keys: dict[str, set[bytes]] = {}

    def find(self, question: bytes) -> Answer | None:
        """The answer made earlier for this question, given in lower case."""
        return self._known.get(question)

    def update(self, owner: str, new: Records) -> bool:
        """Change an owner's records and forget what was answered from them; whether anything changed."""
        touched = self.zone.update(owner, new)
        for name in touched:
            for key in self._keys.pop(name, ()):
                if (answer := self._known.pop(key, None)) is not None:
                    answer.alive = False
        return bool(touched)

    def make(self, question: bytes, name: str, kind: int) -> Answer | None:
        """Answer a question, given in lower case; None if the name is not ours to answer for."""
        if not (self.zone.contains(name) or self.zone.exists(name)):
            return None
        used = {name}
        answer = self._pod(name, kind, used) or self._answer(name, kind, used)
        if len(self._known) >= MEMORY:
            for forgotten in self._known.values():
                forgotten.alive = False
            self._known.clear()
            self._keys.clear()
        self._known[question] = answer
        for each in used:
            self._keys.setdefault(each, set()).add(question)
        return answer

    def _answer(self, name: str, kind: int, used: set[str]) -> Answer:
        text = f"{wire.TYPE_NAMES.get(kind, kind)} {name}"
        owner, at, chain, outside = name, wire.QUESTION_NAME, b"", ""
        links = 0
        while kind not in (wire.CNAME, wire.ANY) and (target := self.zone.get(owner, wire.CNAME)):
            chain += wire.record(at, wire.CNAME, TTL, target[0])
            links, owner, at = links + 1, wire.decode_name(target[0]), target[0]
            used.add(owner)
            if not self.zone.contains(owner) or links > CHAIN:
                outside = owner if kind in (wire.A, wire.AAAA) and links <= CHAIN else ""
                break
        kinds = [each for each in self.zone.types(owner) if each] if kind == wire.ANY else [kind]
        found = [(each, data) for each in kinds for data in self._get(owner, each)]
        if not found and not links:
            return self._negative(name, text)
        bodies = [
            self._body(chain, links, at, turned, used) for turned in _rotations(found)
        ]  # fmt: skip
        return Answer(wire.NOERROR, text, bodies, outside=outside)

    def _get(self, name: str, kind: int) -> tuple[bytes, ...]:
        if kind == wire.SOA and name == self.zone.domain:
            return (records.soa(name, serial=self.zone.serial),)
        return self.zone.get(name, kind)

    def _body(self, chain: bytes, links: int, at: bytes, found: list[tuple[int, bytes]], used: set[str]) -> Body:
        data, extra, extras = chain, b"", 0
        for kind, value in found:
            data += wire.record(at, kind, VERSION_TTL if kind == wire.TXT else TTL, value)
        for target in {value[6:]: None for kind, value in found if kind == wire.SRV}:
            name = wire.decode_name(target)
            used.add(name)
            for kind in (wire.A, wire.AAAA):
                for value in self.zone.get(name, kind):
                    extra += wire.record(target, kind, TTL, value)
                    extras += 1
        return Body(wire.AA, links + len(found), 0, extras, data + extra)

    def _negative(self, name: str, text: str) -> Answer:
        code = wire.NOERROR if self.zone.exists(name) else wire.NXDOMAIN
        if not self.zone.contains(name):  # a reverse name of ours, asked for another type
            return Answer(code, text, [Body(wire.AA | code, 0, 0, 0, b"")])
        domain = self.zone.domain
        soa = records.soa(domain, serial=self.zone.serial)
        authority = wire.record(wire.encode_name(domain), wire.SOA, NEGATIVE_TTL, soa)
        return Answer(code, text, [Body(wire.AA | code, 0, 1, 0, authority)])

    def _pod(self, name: str, kind: int, used: set[str]) -> Answer | None:
        """10-244-0-7.NAMESPACE.pod.ZONE says its own address, wherever the namespace exists."""
        label, _, rest = name.partition(".")
        _, _, zone = rest.partition(".")
        if zone != f"pod.{self.zone.domain}":
            return None
        used.add(rest)
        if not self.zone.exists(rest) or (ip := records.pod_address(label)) is None:
            return None
        text = f"{wire.TYPE_NAMES.get(kind, kind)} {name}"
        found, data = records.address(name, ip)
        if kind not in (found.type, wire.ANY):
            soa = records.soa(self.zone.domain, serial=self.zone.serial)
            authority = wire.record(wire.encode_name(self.zone.domain), wire.SOA, NEGATIVE_TTL, soa)
            return Answer(wire.NOERROR, text, [Body(wire.AA, 0, 1, 0, authority)])
        record = wire.record(wire.QUESTION_NAME, found.type, TTL, data)
        return Answer(wire.NOERROR, text, [Body(wire.AA, 1, 0, 0, record)])


def namespace_records(namespace: str, domain: str) -> Records:
    """A namespace's names exist even while nothing is in it, so that an absence below can be told from its own."""
    return {Name(f"{namespace}.{middle}.{domain}", 0): (b"",) for middle in ("svc", "pod")}


def _rotations(found: list[tuple[int, bytes]]) -> Iterable[list[tuple[int, bytes]]]:
    for start in range(min(len(found), ROTATIONS) or 1):
        yield found[start:] + found[:start]
