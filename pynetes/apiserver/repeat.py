"""A read that was asked before in the very same bytes: answered without parsing it and without a task of its own.

Leaders, agents and pollers read the same few objects for ever. The first answer of such a read notes what it rests on:
each link of the chain signs it with questions that must be answered with yes (is this still the user, is he still
allowed, has his flow a seat), and with what it counts. So everything is decided, only not found out from text again. A
link that does not sign (a fault that a test injects, an audit policy that wants the event) leaves the read to the long
way, as does any question answered with no (docs/decisions/251).
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

from pynetes.machinery.meta import Key
from pynetes.storage.entry import Entry
from pynetes.storage.resource_cache import ResourceCache

T = TypeVar("T")
#: Bytes of a request that may be remembered, and how many are.
LONGEST, MOST = 4096, 2048
#: Bytes of an object that is answered in one piece.
LARGEST = 64 << 10


class Repeat:
    """Made by the endpoint, signed by every link on the way back."""

    __slots__ = ("_cache", "_counts", "_key", "_lasting", "_moment", "_same", "_show", "head", "links")

    def __init__(self, cache: ResourceCache, key: Key, show: Callable[[Entry], bytes]) -> None:
        self._cache, self._key, self._show = cache, key, show
        self._same: list[Callable[[], bool]] = []
        self._lasting: list[Callable[[], bool]] = []
        #: The store's revision and the time for which the lasting questions were answered with yes.
        self._moment = (0, 0)
        self._counts: list[Callable[[float, int], None]] = []
        #: Links that have signed.
        self.links = 0
        #: The answer's first lines, without those that differ each time.
        self.head = b""

    def sign(
        self,
        same: Callable[[], bool] | None = None,
        count: Callable[[float, int], None] | None = None,
        *,
        lasting: Callable[[], bool] | None = None,
    ) -> None:
        """One link: what must hold each time, asked in the order of the chain; what to do with an answer's seconds and
        bytes. lasting: what follows from what is stored, and from files and the clock to a second: asked again when
        anything has been written, and once a second."""
        self.links += 1
        if same is not None:
            self._same.insert(0, same)
        if lasting is not None:
            self._lasting.insert(0, lasting)
        if count is not None:
            self._counts.append(count)

    def body(self) -> bytes | None:
        """The answer now. None: take the long way."""
        moment = self._cache.revision, int(monotonic())
        if moment != self._moment:
            for still in self._lasting:
                if not still():
                    return None
            self._moment = moment
        for same in self._same:
            if not same():
                return None
        entry = self._cache.entry(self._key)
        return None if entry is None or len(entry.item) > LARGEST else self._show(entry)

    def count(self, seconds: float, size: int) -> None:
        """It was answered."""
        for count in self._counts:
            count(seconds, size)


class Repeats:
    """The newest of them, by the client's certificate and the request's bytes."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes | None, bytes], Repeat] = OrderedDict()
        self._once: OrderedDict[int, None] = OrderedDict()

    def seen(self, raw: bytes) -> bool:
        """Whether these bytes have come lately: what comes once only is not worth being remembered."""
        mark = hash(raw)
        if mark in self._once:
            return True
        self._once[mark] = None
        if len(self._once) > MOST:
            self._once.popitem(last=False)
        return False

    def get(self, certificate: bytes | None, raw: bytes) -> Repeat | None:
        """The one for these bytes, if they were seen before."""
        return self._known.get((certificate, raw))

    def keep(self, certificate: bytes | None, raw: bytes, repeat: Repeat) -> None:
        """For the next time."""
        self._known[certificate, raw] = repeat
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def drop(self, certificate: bytes | None, raw: bytes) -> None:
        """Something has changed."""
        self._known.pop((certificate, raw), None)


def identifier() -> str:
    """A random UUID: an answer's audit ID."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def at_once(work: Coroutine[Any, Any, T]) -> T | None:
    """What it returns if it need not wait for anything, else None."""
    try:
        work.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    except Exception:
        return None
    work.close()
    return None
