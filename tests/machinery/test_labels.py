"""Label selectors: grammar, matching and error texts."""

import pytest

from pynetes.machinery import labels

LABELS = {"env": "prod", "num": "5"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("env=prod", True),
        ("env==prod,num", True),
        ("env!=prod", False),
        ("env notin (dev, test)", True),
        ("tier notin (web)", True),
        ("env in (dev,prod)", True),
        ("!tier", True),
        ("num>4", True),
        ("num<4", False),
        ("env in ()", False),
        ("", True),
    ],
)
def test_matches(text: str, selected: bool) -> None:
    """Each operator selects as kubectl -l documents it; absence satisfies != and notin."""
    assert labels.parse(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env in prod", "unable to parse requirement: found 'prod' expected: '('"),
        ("env=a b", "found 'b', expected: ',' or 'end of string'"),
        ("!!env", "unable to parse requirement: found '!', expected: identifier"),
        ("env ni (a)", "unable to parse requirement: found 'ni', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b,", "found '', expected: identifier after ','"),
    ],
)
def test_errors(text: str, message: str) -> None:
    """What the parser refuses it explains in upstream's words."""
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(").replace("!", "!") + "$"):
        labels.parse(text)


def test_label_selector_objects() -> None:
    """No selector selects nothing, an empty one everything, expressions combine with labels."""
    assert not labels.from_label_selector(None).matches(LABELS)
    assert labels.from_label_selector({}).matches({})
    both = {"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "num", "operator": "In", "values": ["5"]}]}
    assert labels.from_label_selector(both).matches(LABELS)
    assert str(labels.from_label_selector(both)) == "env=prod,num in (5)"


def test_text_reads_back() -> None:
    """The canonical text of a selector parses to an equal one."""
    selector = labels.parse("b in (y,x),a!=1,!c,d")
    assert labels.parse(str(selector)) == selector
