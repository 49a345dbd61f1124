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
