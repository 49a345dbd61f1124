"""Policies of CertificateSigningRequests: who may approve and sign for a signer, and what may not be asked for."""

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.authn.user import MASTERS
from pynetes.apiserver.authz import attributes as authz
from pynetes.apiserver.objects import Context
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Object

GROUP, PLURAL = "certificates.k8s.io", "certificatesigningrequests"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


async def may(ctx: Context, attributes: Attributes, verb: str, signer: str) -> bool:
    """Whether the user holds the verb on the signer, by its name or its domain's."""
    for name in (signer, f"{signer.split('/')[0]}/*"):
        question = authz.Attributes(
            user=attributes.user, verb=verb, group=GROUP, version="*", resource="signers", name=name
        )
        if (await ctx.authorizer.authorize(question)).allowed:
            return True
    return False


def _signer(attributes: Attributes) -> str:
    return str(((attributes.old or attributes.obj or {}).get("spec") or {}).get("signerName") or "")


class CertificateApproval(Policy):
    """Approving needs the verb approve on the signer."""

    name = "CertificateApproval"
    validates = frozenset({(GROUP, PLURAL)})

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        if attributes.on(GROUP, PLURAL, UPDATE, subresource="approval"):
            signer = _signer(attributes)
            if not await may(ctx, attributes, "approve", signer):
                raise attributes.forbidden(f"user not permitted to approve requests with signerName {quote(signer)}")


class CertificateSigning(Policy):
    """Setting the certificate, or saying that it failed, needs the verb sign on the signer."""

    name = "CertificateSigning"
    validates = frozenset({(GROUP, PLURAL)})

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        if not attributes.on(GROUP, PLURAL, UPDATE, subresource="status"):
            return
        if _signed(attributes.obj) == _signed(attributes.old):
            return
        signer = _signer(attributes)
        if not await may(ctx, attributes, "sign", signer):
            raise attributes.forbidden(f"user not permitted to sign requests with signerName {quote(signer)}")


def _signed(obj: Object | None) -> object:
    status = (obj or {}).get("status") or {}
    conditions = status.get("conditions") or ()
    return status.get("certificate"), [condition for condition in conditions if condition.get("type") == "Failed"]


class CertificateSubjectRestriction(Policy):
    """Nobody becomes system:masters by asking for a certificate."""

    name = "CertificateSubjectRestriction"
    validates = frozenset({(GROUP, PLURAL)})

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403."""
        if not attributes.on(GROUP, PLURAL, CREATE) or _signer(attributes) != CLIENT_SIGNER:
            return
        request = ((attributes.obj or {}).get("spec") or {}).get("request") or ""
        try:
            csr = x509.load_pem_x509_csr(base64.b64decode(request))
        except (binascii.Error, ValueError) as error:
            raise attributes.forbidden("unable to parse the certificate signing request") from error
        groups = [str(found.value) for found in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        if MASTERS in groups:
            text = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
            raise attributes.forbidden(text)
