"""Who is on the other end of a TLS connection, and what certificates say of themselves.

HTTP libraries hide the connection; what the server has shown is known at the handshake only, and noted there.
"""

import ssl
from collections.abc import Callable
from functools import lru_cache

from cryptography import x509

from pynetes.component.tracing import Certificate


class Peer:
    """What the server on the other end of a client's context showed last."""

    def __init__(self, context: ssl.SSLContext, *, refused: Callable[[Certificate], str] | None = None) -> None:
        """refused: why a certificate that TLS has verified is not whom we want to talk to; "" when it may be."""
        self.context, self.shown = context, b""
        mine = self

        class Noting(ssl.SSLObject):
            """asyncio and uvloop both shake hands through this object, which the HTTP libraries above them hide."""

            def do_handshake(self) -> None:
                super().do_handshake()
                mine.shown = self.getpeercert(binary_form=True) or b""
                if refused is not None and (shown := mine.certificate) is not None and (why := refused(shown)):
                    # Before anything is said: a handshake is all that the server has seen.
                    raise ssl.SSLError(0, why)

        context.sslobject_class = Noting

    @property
    def certificate(self) -> Certificate | None:
        """None before the first handshake."""
        return described(self.shown) if self.shown else None


@lru_cache(maxsize=256)
def described(certificate: bytes) -> Certificate | None:
    """What a certificate (PEM or DER) says of itself; None for what is none."""
    try:
        if certificate.lstrip().startswith(b"-----"):
            found = x509.load_pem_x509_certificate(certificate)
        else:
            found = x509.load_der_x509_certificate(certificate)
        return Certificate(
            subject=found.subject.rfc4514_string(),
            issuer=found.issuer.rfc4514_string(),
            names=_names(found),
            begins=found.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
            expires=found.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    except ValueError:
        return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    words: dict[type, str] = {x509.DNSName: "DNS", x509.IPAddress: "IP", x509.UniformResourceIdentifier: "URI"}
    return tuple(f"{words.get(type(each), 'other')}:{each.value}" for each in found)
