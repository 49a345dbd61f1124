"""What `pynetes status` says of certificates that soon end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pynetes.cmd import status
from pynetes.pki import inventory, renew
from pynetes.pki.layout import Hosts, Layout


def test_certificates_are_told_before_they_end(tmp_path: Path) -> None:
    """A month ahead for what is renewed, a year ahead for authorities; nothing before that; what has ended too."""
    layout = Layout(tmp_path)
    renew.ensure(layout, Hosts(node_name="n", addresses=("127.0.0.1",)))
    leaf = next(item for item in inventory.of(layout) if item.name == "apiserver")
    authority = next(item for item in inventory.of(layout) if item.authority)
    now = datetime.now(UTC)
    assert not status.expiring(layout, now)
    told = status.expiring(layout, leaf.expires - renew.RENEW_BEFORE + timedelta(hours=1))
    assert any(line.startswith("apiserver expires ") for line in told)
    assert not any(line.startswith(f"{authority.name} ") for line in told)
    told = status.expiring(layout, authority.expires - timedelta(days=200))
    assert any(line.startswith(f"{authority.name} expires ") for line in told)
    assert any(line.startswith("apiserver expires ") for line in told)
