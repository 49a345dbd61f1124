"""The key for ServiceAccount tokens of a server that was given none."""

from pathlib import Path

from pynetes.apiserver.config import Config
from pynetes.apiserver.serving import with_token_key


def test_an_embedded_store_gets_a_key_that_stays(tmp_path: Path) -> None:
    """Without it nobody could ask for a token; it is closed to others, and the same after a restart."""
    first, again = (with_token_key(Config(cert_dir=str(tmp_path))) for _ in range(2))
    path = Path(first.service_account_signing_key_file)
    assert path.parent == tmp_path and path.stat().st_mode & 0o777 == 0o600
    assert again.service_account_signing_key_file == str(path)


def test_servers_of_one_etcd_make_none() -> None:
    """Each would refuse the others' tokens."""
    assert not with_token_key(Config(etcd_servers=("https://127.0.0.1:2379",))).service_account_signing_key_file
