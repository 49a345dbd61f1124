"""Replacing an authority: after each step everything that was signed is accepted by everything that verifies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from pynetes.pki import inventory, issue, kubeconfig, renew, rotate
from pynetes.pki.layout import AUTHORITIES, CLUSTER_CA, Authority, Hosts, Layout

HOSTS = Hosts(node_name="node-1", addresses=("10.0.0.1",))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    renew.ensure(made, HOSTS)
    return made


def bundle(layout: Layout, authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(layout.pair(authority.stem).certificate.read_bytes())


def accepted(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> bool:
    return any(_issued(certificate, each) for each in authorities)


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_nothing_is_ever_refused(layout: Layout, authority: Authority) -> None:
    """What is in use before a step is accepted after it, and what the step issues was accepted before it."""
    taken = []
    while not taken or rotate.following(layout, authority) != "trust":
        before = {item.name: item.certificate for item in inventory.of(layout) if not item.authority}
        trusted = bundle(layout, authority)
        step = rotate.following(layout, authority)
        if step == "trust":
            rotate.trust(layout, authority)
        elif step == "sign":
            assert list(rotate.sign(layout, authority))
        else:
            rotate.finish(layout, authority)
        taken.append(step)
        after = {item.name: item.certificate for item in inventory.of(layout) if not item.authority}
        for name, certificate in before.items():
            if accepted(certificate, trusted):
                assert accepted(after[name], trusted), (step, name)
                assert step == "finish" or accepted(certificate, bundle(layout, authority)), (step, name)
        issue.load(layout.pair(authority.stem).certificate.read_bytes(), layout.pair(authority.stem).key.read_bytes())
    assert taken == list(rotate.STEPS)
    assert len(bundle(layout, authority)) == 1
    assert not list(layout.pki.rglob("*-next.*")) and not list(layout.pki.rglob("*-previous.*"))
    # The next `up` finds everything in order.
    assert renew.ensure(layout, HOSTS) == []


def test_an_interrupted_step_is_taken_again(layout: Layout) -> None:
    """Dying between any two files loses no key and leaves a pair that belongs together, or the step to repeat."""
    rotate.trust(layout, CLUSTER_CA)
    steps = rotate.sign(layout, CLUSTER_CA)
    next(steps)
    steps.close()
    assert rotate.following(layout, CLUSTER_CA) == "sign"
    assert list(rotate.sign(layout, CLUSTER_CA))
    assert rotate.following(layout, CLUSTER_CA) == "finish"
    rotate.finish(layout, CLUSTER_CA)
    for item in inventory.of(layout):
        if item.issuer == "CN=kubernetes" and not item.authority:
            assert accepted(item.certificate, bundle(layout, CLUSTER_CA)), item.name


def test_the_old_key_is_gone(layout: Layout) -> None:
    """Once the new authority signs, no file holds what could sign in the old one's name."""
    key = layout.pair("ca").key.read_bytes()
    rotate.trust(layout, CLUSTER_CA)
    list(rotate.sign(layout, CLUSTER_CA))
    assert not [path for path in layout.root.rglob("*") if path.is_file() and key in path.read_bytes()]


def test_kubeconfigs_trust_what_the_cluster_does(layout: Layout) -> None:
    """Also that of a node, whose certificate is its own affair."""
    node = layout.node("n").kubeconfig("kubelet.conf")
    node.parent.mkdir(parents=True)
    node.write_bytes(kubeconfig.with_token(cluster="c", server="https://s", ca=b"old", user="u", token="t"))
    rotate.trust(layout, CLUSTER_CA)
    pem = layout.pair("ca").certificate.read_bytes()
    assert kubeconfig.read(layout.kubeconfig("admin.conf").read_bytes())[2] == pem
    assert kubeconfig.trusting(node.read_bytes(), pem) == node.read_bytes()
    assert node.stat().st_mode & 0o777 == 0o600


def test_a_stranger_signs_nothing(layout: Layout) -> None:
    """`signs` believes no file that is missing, broken, or another authority's."""
    leaf = layout.pair("apiserver").certificate
    assert rotate.signs(layout, CLUSTER_CA, leaf)
    other = issue.authority("kubernetes", datetime.now(UTC))
    layout.pair("ca").certificate.write_bytes(other.certificate_pem)
    assert not rotate.signs(layout, CLUSTER_CA, leaf)
    assert not rotate.signs(layout, CLUSTER_CA, layout.root / "nothing")
