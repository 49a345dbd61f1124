"""The Gateway API's resources, as the CustomResourceDefinitions of the add-on declare them."""

from pynetes.machinery.resource import Resource

GROUP = "gateway.networking.k8s.io"


def _resource(kind: str, plural: str, *, namespaced: bool = True, version: str = "v1") -> Resource:
    return Resource(
        group=GROUP, versions=(version,), kind=kind, plural=plural, namespaced=namespaced, subresources=("status",)
    )


GATEWAY_CLASSES = _resource("GatewayClass", "gatewayclasses", namespaced=False)
GATEWAYS = _resource("Gateway", "gateways")
HTTP_ROUTES = _resource("HTTPRoute", "httproutes")
GRPC_ROUTES = _resource("GRPCRoute", "grpcroutes")
REFERENCE_GRANTS = Resource(group=GROUP, versions=("v1",), kind="ReferenceGrant", plural="referencegrants")
ALL = (GATEWAY_CLASSES, GATEWAYS, HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS)
BY_KIND = {resource.kind: resource for resource in ALL}
