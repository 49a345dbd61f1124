"""The API server shows every metric that docs/metrics.md promises."""

from tests.apiserver.harness import api
from tests.apiserver.metric_names import absent, broken, promised, served
from tests.stable_metrics import STABLE


async def test_every_promised_name_is_served() -> None:
    """By a server that has just begun: a family is there before its first sample."""
    async with api() as asked:
        page = (await asked.get("/metrics")).raw.decode()
    assert sorted(promised("API server") - served(page)) == []
    assert broken("API server", page) == []


def test_no_name_is_promised_and_denied() -> None:
    """The page does not contradict itself."""
    assert len(promised("API server")) > 100
    assert not promised("API server") & absent()


def test_a_value_may_look_like_a_label() -> None:
    """What strangers ask for becomes a label's value, whatever it looks like."""
    name = "apiserver_request_total"
    pairs = ",".join(f'{label}="other=\\"x\\" and=' + '"' for label in sorted(STABLE[name].labels))
    assert broken("API server", f"# TYPE {name} counter\n{name}{{{pairs}}} 1\n") == []
