"""Which requests are traced, and what headers and files say about it."""

import random

import pytest

from pynetes.component import spans
from pynetes.component.remedy import RemedyError
from pynetes.component.spans import Config, Context, Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", (Context(TRACE, SPAN), True)),
        (f"00-{TRACE}-{SPAN}-00", (Context(TRACE, SPAN), False)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", (Context(TRACE, SPAN), True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_traceparent_is_read_as_w3c_has_it(header: str, found: object) -> None:
    """Malformed and all-zero contexts are none; later versions may add fields."""
    assert spans.parse(header) == found


def test_a_cause_is_one_member_of_the_baggage() -> None:
    """Among others, with properties or without; no number is no cause."""
    assert spans.cause_in("user=me, pynetes.cause=42;p=1") == 42
    assert spans.cause_in("pynetes.cause=x") == 0
    assert spans.cause_in("") == 0


def test_who_is_traced() -> None:
    """The client's own trace first, then the revision that made it write, then the dice; unsampled means unsampled."""
    never, always = (Tracer(Config("c:1", rate), random.Random(1)) for rate in (0, spans.MILLION))
    assert never.begin("", "") is None
    rooted = always.begin("", "")
    assert rooted is not None and rooted.parent == ""
    assert always.begin(f"00-{TRACE}-{SPAN}-00", "") is None
    begun = never.begin(f"00-{TRACE}-{SPAN}-01", "")
    assert begun is not None and (begun.context.trace, begun.parent) == (TRACE, SPAN)
    never.belongs(7, begun.context)
    caused = never.begin("", "pynetes.cause=7")
    assert caused is not None and (caused.context.trace, caused.parent) == (TRACE, begun.context.span)
    assert never.contexts([6, 7]) == {7: begun.context}


def test_a_bounded_number_of_revisions_is_remembered() -> None:
    """The oldest go first."""
    tracer = Tracer()
    for revision in range(spans.REVISIONS + 2):
        tracer.belongs(revision, Context(TRACE, SPAN))
    assert tracer.contexts([0, 1, 2]) == {2: Context(TRACE, SPAN)}


def test_upstreams_file_is_understood() -> None:
    """The endpoint defaults to the collector of this machine; mistakes name the field."""
    text = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n"
    assert spans.read(text, "f") == Config("localhost:4317", 0)
    assert spans.read(text + "endpoint: c:1\nsamplingRatePerMillion: 100\n", "f") == Config("c:1", 100)
    for wrong in ("kind: Pod", "a: [", text + "samplingRatePerMillion: 1000001"):
        with pytest.raises(RemedyError, match="f"):
            spans.read(wrong, "f")
