"""A new authority in the place of an old one, in steps between which everybody trusts everybody.

    trust    the bundle becomes old + new; the old one signs on
    sign     the bundle becomes new + old; the new key signs, and everything signed is issued anew
    finish   the bundle becomes new alone

The first certificate of a bundle is always the one that signs, and its key lies beside it. Which step is the next one
is read off the files, so that a rotation that was interrupted goes on where it was. The old key is gone with `sign`:
nobody can sign with it any more, whoever may have seen it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pynetes.pki import files, inventory, issue, kubeconfig, renew
from pynetes.pki.layout import CLUSTER_CA, Authority, Layout, Pair

STEPS = ("trust", "sign", "finish")


def following(layout: Layout, authority: Authority) -> str:
    """The step that comes next."""
    if _previous(layout, authority).exists():
        # The key moves after the note of what was before, so that a crash between them repeats the step.
        return "sign" if _next(layout, authority).certificate.exists() else "finish"
    bundle = x509.load_pem_x509_certificates(layout.pair(authority.stem).certificate.read_bytes())
    return "sign" if len(bundle) > 1 and _next(layout, authority).certificate.exists() else "trust"


def trust(layout: Layout, authority: Authority, *, now: datetime | None = None) -> None:
    """Make the new authority and let everybody trust it beside the old one."""
    pair, coming = layout.pair(authority.stem), _next(layout, authority)
    if not coming.certificate.exists():
        made = issue.authority(authority.common_name, now or datetime.now(UTC))
        files.write(coming.key, made.key_pem)
        files.write(coming.certificate, made.certificate_pem, mode=files.PUBLIC)
    old = _first(pair.certificate)
    _bundle(layout, authority, old + coming.certificate.read_bytes())


def sign(layout: Layout, authority: Authority, *, now: datetime | None = None) -> Iterator[str]:
    """Let the new authority sign, and issue anew what the old one had signed; yields the names of that."""
    pair, coming, previous = layout.pair(authority.stem), _next(layout, authority), _previous(layout, authority)
    if not previous.exists():
        files.write(previous, _first(pair.certificate), mode=files.PUBLIC)
    files.write(pair.key, coming.key.read_bytes())
    _bundle(layout, authority, coming.certificate.read_bytes() + previous.read_bytes())
    signed = {item.name for item in inventory.of(layout) if not item.authority and not item.requested}
    subject = x509.load_pem_x509_certificate(previous.read_bytes()).subject.rfc4514_string()
    mine = {item.name for item in inventory.of(layout) if item.name in signed and item.issuer == subject}
    yield from renew.again(layout, only=frozenset(mine), now=now)
    coming.certificate.unlink()
    coming.key.unlink()


def finish(layout: Layout, authority: Authority) -> None:
    """Trust the old one no longer."""
    _bundle(layout, authority, _first(layout.pair(authority.stem).certificate))
    _previous(layout, authority).unlink(missing_ok=True)


def signs(layout: Layout, authority: Authority, path: Path) -> bool:
    """Whether the authority that signs now has issued the certificate in a file."""
    issuer = x509.load_pem_x509_certificate(layout.pair(authority.stem).certificate.read_bytes())
    try:
        x509.load_pem_x509_certificate(path.read_bytes()).verify_directly_issued_by(issuer)
    except Exception:  # whatever is wrong with it, it is not one of ours
        return False
    return True


def _first(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.PEM)


def _next(layout: Layout, authority: Authority) -> Pair:
    return layout.pair(f"{authority.stem}-next")


def _previous(layout: Layout, authority: Authority) -> Path:
    return layout.pair(f"{authority.stem}-previous").certificate


def _bundle(layout: Layout, authority: Authority, pem: bytes) -> None:
    """Write it wherever this authority is what is trusted."""
    files.write(layout.pair(authority.stem).certificate, pem, mode=files.PUBLIC)
    if authority != CLUSTER_CA:
        return
    nodes = layout.root / "nodes"
    homes = [layout, *(Layout(home) for home in (sorted(nodes.iterdir()) if nodes.is_dir() else ()))]
    for home in homes:
        copy = home.pair(CLUSTER_CA.stem).certificate
        if home is not layout and copy.exists():
            files.write(copy, pem, mode=files.PUBLIC)
        for path in home.root.glob("*.conf"):
            try:
                files.write(path, kubeconfig.trusting(path.read_bytes(), pem))
            except ValueError:
                continue  # none of ours
