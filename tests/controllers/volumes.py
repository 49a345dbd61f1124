"""Claims, volumes and classes as tests write them."""

from typing import Any

from pynetes.machinery.meta import Object

DRIVER = "local.csi.example"


def claim(name: str = "data", *, size: str = "1Gi", class_: str | None = "fast", uid: str = "", **spec: Any) -> Object:
    """A claim of one writer."""
    made: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-of-{name}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": size}},
            **({} if class_ is None else {"storageClassName": class_}),
            **spec,
        },
        "status": {"phase": "Pending"},
    }
    return made


def volume(name: str = "pv", *, size: str = "1Gi", class_: str = "fast", policy: str = "Retain", **spec: Any) -> Object:
    """A CSI volume."""
    made: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "uid": f"uid-of-{name}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size},
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": class_,
            "csi": {"driver": DRIVER, "volumeHandle": f"handle-of-{name}"},
            **spec,
        },
        "status": {"phase": "Pending"},
    }
    return made


def bound(name: str = "data", *, volume_name: str = "pv", size: str = "1Gi", **spec: Any) -> tuple[Object, Object]:
    """A claim and its volume, both done."""
    mine, its = claim(name, size=size, volumeName=volume_name, **spec), volume(volume_name, size=size)
    mine["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    mine["status"] = {"phase": "Bound", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}
    ref = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": name, "uid": mine["metadata"]["uid"]}
    its["spec"]["claimRef"] = ref
    its["status"] = {"phase": "Bound"}
    return mine, its


def storage_class(name: str = "fast", *, late: bool = False, **members: Any) -> Object:
    """A class whose volumes DRIVER makes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer" if late else "Immediate",
        "reclaimPolicy": "Delete",
        **members,
    }


def pod(name: str = "web", *claims: str, node: str = "", **metadata: Any) -> Object:
    """A pod that mounts claims."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}", **metadata},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            **({"nodeName": node} if node else {}),
            "volumes": [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims],
        },
        "status": {"phase": "Running" if node else "Pending"},
    }


def node(name: str = "n1", *, ready: bool = True, in_use: tuple[str, ...] = (), taint: str = "") -> Object:
    """A node; in_use are names of volumes that its kubelet has mounted."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": [{"key": taint, "effect": "NoExecute"}] if taint else []},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "Unknown",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
            "volumesInUse": [f"kubernetes.io/csi/{DRIVER}^handle-of-{one}" for one in in_use],
        },
    }
