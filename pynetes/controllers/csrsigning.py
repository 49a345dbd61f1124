"""Signs approved requests with the cluster's CA."""

import base64
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _requests as asked
from pynetes.controllers._config import Config
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, Names

SIGNERS = (asked.CLIENT, asked.KUBELET_CLIENT, asked.KUBELET_SERVING)
_SHORTEST = timedelta(minutes=10)


def sign(csr: Object, wanted: asked.Wanted, issuer: issue.Issued, config: Config, now: datetime) -> str:
    """The certificate as status.certificate has it: base64 of PEM. ValueError for a key of another kind."""
    key = wanted.request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError(f"keys of type {type(key).__name__} are not signed")
    usages = csr["spec"].get("usages") or ()
    leaf = Leaf(
        "",
        CLUSTER_CA,
        wanted.common_name,
        wanted.organizations,
        server="server auth" in usages,
        client="client auth" in usages,
        names=Names(wanted.dns, wanted.addresses),
    )
    life = config.signing_duration
    if seconds := csr["spec"].get("expirationSeconds"):
        life = max(_SHORTEST, min(life, timedelta(seconds=seconds)))
    pem = issue.certify(leaf, key, issuer, now, life=life).public_bytes(Encoding.PEM)
    return base64.b64encode(pem).decode()


def controller(config: Config) -> Controller | None:
    """The signer; None when there is no CA to sign with."""
    if config.signing is None:
        return None
    authority = config.signing

    async def reconcile(ctx: Context, key: Key) -> timedelta | None:
        csr = await ctx.cached(requests.RESOURCE, key)
        if csr is None or csr["spec"]["signerName"] not in SIGNERS or not asked.has(csr, "Approved"):
            return None
        status: Object = csr.get("status") or {}
        if status.get("certificate") or asked.has(csr, "Denied") or asked.has(csr, "Failed"):
            return None
        try:
            wanted = asked.read(csr)
            if wrong := asked.problem(csr, wanted):
                raise ValueError(wrong)
            new = status | {"certificate": sign(csr, wanted, authority(), config, ctx.now())}
        except ValueError as error:
            told = status.get("conditions") or ()
            told = conditions.put(
                told, "Failed", "True", "SignerValidationFailure", str(error), ctx.now(), lastUpdateTime=""
            )
            new = status | {"conditions": told}
        await ctx.update_status(requests.RESOURCE, csr | {"status": new})
        return None

    return Controller(
        name="certificatesigningrequest-signing-controller",
        service_account="certificate-controller",
        reconcile=reconcile,
        watches=(Watch(requests.RESOURCE),),
        rules=(
            Rule("certificatesigningrequests.certificates.k8s.io", "get,list,watch"),
            Rule("certificatesigningrequests.certificates.k8s.io/status", "update"),
            Rule("signers.certificates.k8s.io", "sign"),
        ),
    )
