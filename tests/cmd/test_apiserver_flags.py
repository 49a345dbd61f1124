"""What the API server says about files that it cannot use: a line for people, nothing secret, no traceback."""

from pathlib import Path

import pytest

from pynetes.cmd import apiserver
from pynetes.component.remedy import RemedyError


@pytest.mark.parametrize(
    "flag",
    [
        "--encryption-provider-config",
        "--audit-policy-file",
        "--authentication-config",
        "--authentication-token-webhook-config-file",
        "--authorization-webhook-config-file",
    ],
)
@pytest.mark.parametrize("content", [None, "kind: Other\nsecret: c3VwZXItc2VjcmV0"], ids=["absent", "other"])
def test_a_wrong_file_ends_the_start(flag: str, content: str | None, tmp_path: Path) -> None:
    """A server that started without its encryption, its audit or its authenticators would be worse than none."""
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RemedyError) as caught:
        apiserver.main([f"{flag}={path}", "--secure-port=0", f"--cert-dir={tmp_path}"])
    assert str(path) in str(caught.value) and "c3VwZXI" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("APIServerIdentity", "missing bool value for APIServerIdentity"),
        ("A=true,B=yes", 'invalid value of B=yes, err: strconv.ParseBool: parsing "yes": invalid syntax'),
    ],
)
def test_a_feature_gate_is_a_name_and_a_boolean(value: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else ends the start, as upstream's."""
    assert apiserver.main([f"--feature-gates={value}", "--secure-port=0"]) == 1
    assert told in capsys.readouterr().err
