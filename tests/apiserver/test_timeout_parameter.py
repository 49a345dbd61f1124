"""?timeout=: Go's durations, and what is no duration."""

import pytest

from tests.apiserver.harness import CONFIGMAPS, api


@pytest.mark.parametrize("text", ("0", "1m30s", "-5s", ".5h", "+1.s", "34s1ms2us3ns"))
async def test_durations(text: str) -> None:
    """None and a negative one ask for nothing."""
    async with api() as server:
        assert (await server.get(f"{CONFIGMAPS}?timeout={text.replace('+', '%2B')}")).status == 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc", "invalid duration"),
        ("1", "missing unit in duration"),
        ("1s2", "missing unit in duration"),
        ("1d", 'unknown unit "d" in duration'),
        (".s", "invalid duration"),
        ("-", "invalid duration"),
    ],
)
async def test_no_durations(text: str, problem: str) -> None:
    """400 in Go's words."""
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?timeout={text}")
        told = f'invalid timeout specified in the request URL - time: {problem} "{text}"'
        assert (answer.status, answer.body["message"]) == (400, told)
