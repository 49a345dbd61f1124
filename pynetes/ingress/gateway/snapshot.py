"""What the Gateway API's rules are computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pynetes.ingress.gateway import references
from pynetes.ingress.gateway.references import From
from pynetes.machinery.meta import Key, Object

#: spec.controllerName of the GatewayClasses that are served.
CONTROLLER = "pynetes.io/gateway-controller"


@dataclass(frozen=True)
class Snapshot:
    """The objects of this moment."""

    classes: Sequence[Object]
    gateways: Sequence[Object]
    http_routes: Sequence[Object]
    grpc_routes: Sequence[Object]
    grants: Sequence[Object]
    namespace: Callable[[str], Object | None]
    service: Callable[[Key], Object | None]
    secret: Callable[[Key], Object | None]
    #: (Gateway, port) → the port that nginx listens on for it, where one was given out before.
    ports: dict[tuple[Key, int], int]
    #: What the API's CustomResourceDefinitions say of their version, "" for one that says nothing.
    versions: frozenset[str] = frozenset()
    controller: str = CONTROLLER

    def may_refer(self, source: From, kind: str, target: Key) -> bool:
        """Whether a reference across namespaces is granted."""
        return references.granted(self.grants, source, kind, target)
