"""Brings a directory to what it should hold: makes what is missing, keeps what is good, re-issues the rest.

A crash between a certificate and its key leaves a pair that does not match; the next run sees and replaces it. An
authority is never replaced silently: everything it signed would stop working.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pynetes.pki import files, inventory, issue, kubeconfig
from pynetes.pki.layout import (
    AUTHORITIES,
    CLUSTER_CA,
    KUBECONFIGS,
    Authority,
    Hosts,
    KubeconfigFile,
    Layout,
    Leaf,
    Pair,
    leaves,
)

#: A certificate with less life left is replaced: a month, or what is left of a long weekend's worth of retries.
RENEW_BEFORE = timedelta(days=30)


class PKIError(Exception):
    """The directory cannot be made good without a person's decision; the text says which."""


class Done(NamedTuple):
    """One file written, and why."""

    name: str
    reason: str


@dataclass
class _Work:
    layout: Layout
    now: datetime
    force: bool
    only: frozenset[str]
    authorities: dict[Authority, issue.Issued]

    def wants(self, name: str) -> bool:
        return self.force and (not self.only or name in self.only)


def ensure(layout: Layout, hosts: Hosts, *, now: datetime | None = None) -> list[Done]:
    """Make everything, or what is missing or no longer good. Raises PKIError; says what was written and why."""
    return _run(_Work(layout, now or datetime.now(UTC), False, frozenset(), {}), hosts)


def renew(
    layout: Layout, hosts: Hosts, *, only: frozenset[str] = frozenset(), now: datetime | None = None
) -> list[Done]:
    """Re-issue leaves and kubeconfigs (those named, or all) with new keys, whatever their age. CAs stay."""
    return _run(_Work(layout, now or datetime.now(UTC), True, only, {}), hosts)


def _run(work: _Work, hosts: Hosts) -> list[Done]:
    done = [*_authorities(work), *_service_account(work)]
    for wanted in leaves(hosts):
        done += _leaf(work, work.layout, wanted, wanted.stem)
    for file in KUBECONFIGS:
        done += _kubeconfig(work, work.layout, file, file.file, hosts)
    return done


def _authorities(work: _Work) -> Iterator[Done]:
    for wanted in AUTHORITIES:
        pair = work.layout.pair(wanted.stem)
        try:
            if not pair.certificate.exists():
                # A key alone is what a crash in the middle of this leaves behind; nothing else has been signed yet.
                key = issue.load_key(pair.key.read_bytes()) if pair.key.exists() else None
                work.authorities[wanted] = made = issue.authority(wanted.common_name, work.now, key=key)
                _save(pair, made)
                yield Done(wanted.stem, "missing")
                continue
            work.authorities[wanted] = kept = issue.load(pair.certificate.read_bytes(), pair.key.read_bytes())
        except (ValueError, OSError) as error:
            remedy = "restore both files, or remove both to start with a new authority"
            raise PKIError(f"{pair.certificate} and {pair.key.name}: {error}; {remedy}") from error
        if kept.certificate.not_valid_after_utc <= work.now:
            raise PKIError(f"{pair.certificate} has expired; remove it and its key to start with a new authority")


def _service_account(work: _Work) -> Iterator[Done]:
    pair = work.layout.service_account
    if pair.key.exists():
        key = issue.load_key(pair.key.read_bytes())
        if pair.certificate.exists() and pair.certificate.read_bytes() == issue.public_pem(key):
            return
    else:
        # The public half is written last: whoever finds it finds the key as well.
        key = issue.new_key()
        files.write(pair.key, issue.private_pem(key))
    files.write(pair.certificate, issue.public_pem(key), mode=files.PUBLIC)
    yield Done("sa", "missing")


def _leaf(work: _Work, layout: Layout, wanted: Leaf, name: str) -> Iterator[Done]:
    pair, issuer = layout.pair(wanted.stem), work.authorities[wanted.authority]
    reason = "renewal asked for" if work.wants(name) else _why(pair, wanted, issuer, work.now)
    if reason:
        _save(pair, issue.leaf(wanted, issuer, work.now))
        yield Done(name, reason)


def _kubeconfig(work: _Work, layout: Layout, file: KubeconfigFile, name: str, hosts: Hosts) -> Iterator[Done]:
    path, issuer = layout.kubeconfig(file.file), work.authorities[CLUSTER_CA]
    # While an authority is replaced by another there are two.
    bundle = work.layout.pair(CLUSTER_CA.stem).certificate.read_bytes()
    wanted = Leaf(name, CLUSTER_CA, file.user, file.organizations, client=True)
    reason = "renewal asked for" if work.wants(name) else ""
    if not reason:
        try:
            identity, server, ca = kubeconfig.read(path.read_bytes())
            reason = unfit(identity.certificate, wanted, issuer, work.now)
            if server != hosts.server:
                reason = reason or "the server's address changed"
            if ca != bundle:
                reason = reason or "the authority changed"
        except FileNotFoundError:
            reason = "missing"
        except ValueError as error:
            reason = str(error)
    if reason:
        identity = issue.leaf(wanted, issuer, work.now)
        content = kubeconfig.build(
            cluster=hosts.cluster, server=hosts.server, ca=bundle, user=file.user, identity=identity
        )
        files.write(path, content)
        yield Done(name, reason)


def _why(pair: Pair, wanted: Leaf, issuer: issue.Issued, now: datetime) -> str:
    try:
        found = issue.load(pair.certificate.read_bytes(), pair.key.read_bytes())
    except FileNotFoundError:
        return "missing"
    except ValueError as error:
        return str(error)
    return unfit(found.certificate, wanted, issuer, now)


def unfit(certificate: x509.Certificate, wanted: Leaf, issuer: issue.Issued, now: datetime) -> str:
    """Why a certificate cannot serve as `wanted` any longer; "" if it can."""
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "the authority changed"
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        return f"expires {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        return "not valid yet"
    if certificate.subject != issue.subject_of(wanted):
        return "the subject changed"
    found = issue.names_of(certificate)
    if set(found.dns) != set(wanted.names.dns) or set(found.addresses) != set(wanted.names.addresses):
        return "the names or addresses changed"
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return "" if set(extended) == set(issue.usages(wanted)) else "the usages changed"


def _save(pair: Pair, issued: issue.Issued) -> None:
    files.write(pair.key, issued.key_pem)
    files.write(pair.certificate, issued.certificate_pem, mode=files.PUBLIC)


def again(layout: Layout, *, only: frozenset[str] = frozenset(), now: datetime | None = None) -> Iterator[str]:
    """Issue what is there anew with the same subject, names and usages, for callers who know no Hosts.

    Kubeconfigs keep their server. Raises PKIError when an authority is missing or unreadable."""
    moment = now or datetime.now(UTC)
    authorities = [_authority(layout.pair(wanted.stem)) for wanted in AUTHORITIES]
    for item in inventory.of(layout):
        if item.authority or item.requested or (only and item.name not in only):
            continue
        issuer = next((found for found in authorities if found.certificate.subject == item.certificate.issuer), None)
        if issuer is None:
            raise PKIError(f"{item.path}: its issuer {item.issuer} is none of this cluster's authorities")
        made = issue.leaf(_same(item), issuer, moment)
        if item.path.suffix == ".conf":
            files.write(item.path, kubeconfig.replaced(item.path.read_bytes(), made))
        else:
            _save(Pair(item.path, item.path.with_suffix(".key")), made)
        yield item.name


def _authority(pair: Pair) -> issue.Issued:
    try:
        return issue.load(pair.certificate.read_bytes(), pair.key.read_bytes())
    except (OSError, ValueError) as error:
        raise PKIError(f"{pair.certificate} and {pair.key.name}: {error}") from error


def _same(item: inventory.Item) -> Leaf:
    certificate = item.certificate
    names = {oid: [str(found.value) for found in certificate.subject.get_attributes_for_oid(oid)] for oid in SUBJECT}
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return Leaf(
        item.name,
        CLUSTER_CA,
        names[NameOID.COMMON_NAME][0],
        tuple(names[NameOID.ORGANIZATION_NAME]),
        server=ExtendedKeyUsageOID.SERVER_AUTH in usages,
        client=ExtendedKeyUsageOID.CLIENT_AUTH in usages,
        names=issue.names_of(certificate),
    )


SUBJECT = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
