"""Objects in protobuf: what is written is what is read again."""

from typing import Any

import pytest

from pynetes.machinery import protobuf, protobuf_encoder
from pynetes.machinery.meta import Object

POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "a",
        "labels": {"b": "1", "a": "2"},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
    },
    "spec": {
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 420}}],
        "containers": [
            {
                "name": "c",
                "resources": {"requests": {"cpu": "100m"}},
                "readinessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 5},
                "livenessProbe": {"tcpSocket": {"port": 80}},
            }
        ],
        "priority": -5,
        "hostNetwork": True,
    },
}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "x.example.com"},
    "spec": {
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "maximum": 1.5,
                        "default": {"a": [1]},
                        "additionalProperties": False,
                        "properties": {
                            "list": {"items": {"type": "string"}},
                            "map": {"additionalProperties": {"type": "string"}},
                        },
                    }
                },
            }
        ]
    },
}
POLICY: Object = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": "p"},
    "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["", "apps"], "operations": ["CREATE"]}]}},
}
SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AP8="}}
REQUEST: Object = {
    "apiVersion": "certificates.k8s.io/v1",
    "kind": "CertificateSigningRequest",
    "metadata": {"name": "r"},
    "spec": {"request": "YQ==", "extra": {"one": ["x", "y"]}},
}
LEASE: Object = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "l"},
    "spec": {"renewTime": "2026-01-02T03:04:05.000006Z"},
}


@pytest.mark.parametrize("obj", [POD, CRD, POLICY, SECRET, REQUEST, LEASE], ids=lambda obj: obj["kind"])
def test_what_is_encoded_is_decoded_again(obj: Object) -> None:
    """Maps, embedded messages, quantities, times, numbers or strings, raw JSON: all come back as they were."""
    assert protobuf.decode(protobuf_encoder.encode(obj)) == obj


def test_a_list_is_joined_from_messages() -> None:
    """Items are messages without an envelope of their own."""
    type_ = protobuf_encoder.type_of("v1", "Secret")
    items = [protobuf_encoder.message(type_, SECRET)] * 2
    pieces = protobuf_encoder.list_of("v1", "SecretList", {"resourceVersion": "7"}, items)
    item = {"metadata": SECRET["metadata"], "data": SECRET["data"]}
    assert protobuf.decode(b"".join(pieces)) == {
        "apiVersion": "v1",
        "kind": "SecretList",
        "metadata": {"selfLink": "", "resourceVersion": "7", "continue": ""},
        "items": [item, item],
    }


def test_bytes_are_those_of_the_format() -> None:
    """Envelope and frame, byte by byte: prefix, kind, message, empty encoding and type; length in front of an event."""
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    encoded = b"k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x05\n\x03\n\x01n\x1a\x00\x22\x00"
    assert protobuf_encoder.encode(obj) == encoded
    frame = protobuf_encoder.event("ADDED", encoded)
    assert frame == b"\x00\x00\x00\x2b\n\x05ADDED\x12\x22\n\x20" + encoded


def test_a_custom_kind_has_no_protobuf_form() -> None:
    """There are no field numbers for it."""
    with pytest.raises(protobuf_encoder.Unencodable):
        protobuf_encoder.encode({"apiVersion": "example.com/v1", "kind": "X", "metadata": {}})
