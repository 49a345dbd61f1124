"""Field selectors, times, JSON paths, names and int-or-string."""

from datetime import UTC, datetime, timedelta

import pytest

from pynetes.machinery import fields, intstr, jsonpath, names, time


def test_field_selector() -> None:
    """Terms compare for equality; a missing field is empty; escapes keep commas in values."""
    selector = fields.parse("status.phase=Running,spec.nodeName!=")
    assert selector.matches({"status.phase": "Running", "spec.nodeName": "n"})
    assert not selector.matches({"status.phase": "Running"})
    assert fields.parse(r"a=x\,y").exact("a") == "x,y"
    with pytest.raises(ValueError, match="can't understand 'a>b'"):
        fields.parse("a>b")


def test_times() -> None:
    """Offsets become UTC, fractions go from Time and are filled up in MicroTime."""
    moment = time.parse("2026-01-02T03:04:05.5+01:00")
    assert time.rfc3339(moment) == "2026-01-02T02:04:05Z"
    assert time.micro(moment) == "2026-01-02T02:04:05.500000Z"
    assert moment == datetime(2026, 1, 2, 2, 4, 5, 500000, UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (130, "2m10s"), (600, "10m"), (7200, "120m"), (10800, "3h"), (3600 * 50, "2d2h")],
)
def test_human(seconds: int, text: str) -> None:
    """Ages lose precision as they grow, as kubectl shows them."""
    assert time.human(timedelta(seconds=seconds)) == text


def test_jsonpath() -> None:
    """Members, indexes, wildcards and filters."""
    obj = {"a": {"b.c": 1}, "list": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}
    assert jsonpath.first("{.a['b.c']}", obj) == 1
    assert jsonpath.first('.list[?(@.type=="Ready")].status', obj) == "True"
    assert jsonpath.compile(".list[*].type")(obj) == ["Ready", "Other"]
    assert jsonpath.first(".missing.deep", obj, "none") == "none"


def test_names() -> None:
    """Rules name what is wrong, all of it."""
    assert names.dns_subdomain("a.b") == []
    assert names.dns_label("a.b") == ["must not contain dots"]
    assert names.qualified_name("example.com/key") == []
    assert len(names.qualified_name("/" + "x" * 64)) == 2
    assert names.label_value("") == []
    assert names.port_name("HTTP")
    assert names.path_segment("system:node") == []


def test_scaled() -> None:
    """Percentages round as asked."""
    assert intstr.scaled("25%", 10, round_up=True) == 3
    assert intstr.scaled("25%", 10, round_up=False) == 2
    assert intstr.scaled(4, 10, round_up=True) == 4
