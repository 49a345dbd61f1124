"""What a directory of certificates comes to, from whatever state it is found in."""

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.pki import inventory, issue, kubeconfig, renew
from pynetes.pki.layout import AUTHORITIES, Hosts, Layout

HOSTS = Hosts(node_name="node-1", addresses=("10.0.0.1",))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    renew.ensure(made, HOSTS, now=NOW)
    return made


def test_every_file_of_kubeadm(layout: Layout) -> None:
    """The names are kubeadm's."""
    found = {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}
    pairs = (
        "ca front-proxy-ca etcd/ca apiserver apiserver-kubelet-client apiserver-etcd-client front-proxy-client "
        "etcd/server etcd/peer etcd/healthcheck-client"
    )
    wanted = {f"pki/{stem}.{end}" for stem in pairs.split() for end in ("crt", "key")} | {"pki/sa.key", "pki/sa.pub"}
    wanted |= {"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kube-proxy.conf"}
    wanted |= {"cloud-controller-manager.conf"}
    assert found == wanted


def test_keys_are_private(layout: Layout) -> None:
    """No key and no kubeconfig is readable by anybody else."""
    for path in layout.root.rglob("*"):
        if path.suffix in (".key", ".conf"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_second_run_changes_nothing(layout: Layout) -> None:
    """What is good is kept, byte for byte."""
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    assert renew.ensure(layout, HOSTS, now=NOW) == []
    assert before == {path: path.read_bytes() for path in before}


def test_expiring_leaves_are_reissued(layout: Layout) -> None:
    """A month before their end, leaves and kubeconfigs are made anew; authorities are not."""
    before = layout.pair("ca").certificate.read_bytes()
    done = renew.ensure(layout, HOSTS, now=NOW + timedelta(days=350))
    assert {name for name, _ in done} >= {"apiserver", "etcd/server", "admin.conf"}
    assert all(reason.startswith("expires") for _, reason in done)
    assert layout.pair("ca").certificate.read_bytes() == before


def test_changed_addresses_are_reissued(layout: Layout) -> None:
    """A new address of the machine reaches exactly the certificates that name addresses."""
    done = renew.ensure(layout, replace(HOSTS, addresses=("10.0.0.9",)), now=NOW)
    assert {name for name, _ in done} == {"apiserver", "etcd/server", "etcd/peer"}


def test_crash_between_key_and_certificate(layout: Layout) -> None:
    """A new key beside the old certificate is noticed and replaced."""
    pair = layout.pair("apiserver")
    pair.key.write_bytes(issue.private_pem(issue.new_key()))
    assert [name for name, _ in renew.ensure(layout, HOSTS, now=NOW)] == ["apiserver"]


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_crash_while_making_an_authority(layout: Layout, authority: object) -> None:
    """A key alone becomes an authority again, and what it signed stays valid."""
    layout.pair(authority.stem).certificate.unlink()  # type: ignore[attr-defined]
    done = renew.ensure(layout, HOSTS, now=NOW)
    # Kubeconfigs carry the authority's certificate, which is another one now.
    assert not [name for name, _ in done if name.startswith(("apiserver", "etcd/server"))]


def test_damaged_authority_is_not_replaced(layout: Layout) -> None:
    """An authority that cannot be read is a person's decision."""
    layout.pair("ca").key.write_bytes(b"garbage")
    with pytest.raises(renew.PKIError, match="restore both files"):
        renew.ensure(layout, HOSTS, now=NOW)


def test_renewal_of_one(layout: Layout) -> None:
    """Renewing one certificate gives it a new key and leaves the others alone."""
    before = layout.pair("apiserver").key.read_bytes()
    other = layout.pair("front-proxy-client").key.read_bytes()
    done = renew.renew(layout, HOSTS, only=frozenset({"apiserver"}), now=NOW)
    assert [name for name, _ in done] == ["apiserver"]
    assert layout.pair("apiserver").key.read_bytes() != before
    assert layout.pair("front-proxy-client").key.read_bytes() == other


def test_identities(layout: Layout) -> None:
    """Each kubeconfig is who upstream's is."""
    wanted = {
        "admin.conf": "CN=kubernetes-admin,O=kubeadm:cluster-admins",
        "super-admin.conf": "CN=kubernetes-super-admin,O=system:masters",
        "controller-manager.conf": "CN=system:kube-controller-manager",
        "scheduler.conf": "CN=system:kube-scheduler",
        "kube-proxy.conf": "CN=system:kube-proxy",
    }
    for file, subject in wanted.items():
        certificate = kubeconfig.certificate((layout.root / file).read_bytes())
        assert certificate.subject.rfc4514_string() == subject


def test_again_keeps_who_everybody_is(layout: Layout) -> None:
    """Renewal without knowing the hosts keeps subjects, names and servers, and changes every key."""
    before = {item.name: item for item in inventory.of(layout)}
    done = list(renew.again(layout, now=NOW + timedelta(days=100)))
    after = {item.name: item for item in inventory.of(layout)}
    assert set(done) == {name for name, item in before.items() if not item.authority}
    for name in done:
        assert after[name].subject == before[name].subject
        assert issue.names_of(after[name].certificate) == issue.names_of(before[name].certificate)
        assert after[name].certificate.public_key() != before[name].certificate.public_key()
        assert after[name].expires > before[name].expires
    assert renew.ensure(layout, HOSTS, now=NOW + timedelta(days=100)) == []


def test_inventory_begins_with_authorities(layout: Layout) -> None:
    """Three authorities, then everything they signed."""
    items = list(inventory.of(layout))
    assert [item.name for item in items[:3]] == ["ca", "etcd/ca", "front-proxy-ca"]
    assert not any(item.authority for item in items[3:])
    assert items[3].residual(NOW + timedelta(days=400)) == "expired"
