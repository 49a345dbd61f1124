"""The kinds of snapshot.storage.k8s.io, which are custom resources: enough of each to ask an API server for it."""

from pynetes.machinery.resource import Resource

GROUP = "snapshot.storage.k8s.io"

SNAPSHOTS = Resource(
    group=GROUP,
    versions=("v1",),
    kind="VolumeSnapshot",
    plural="volumesnapshots",
    short_names=("vs",),
    subresources=("status",),
)
CONTENTS = Resource(
    group=GROUP,
    versions=("v1",),
    kind="VolumeSnapshotContent",
    plural="volumesnapshotcontents",
    short_names=("vsc", "vscs"),
    namespaced=False,
    subresources=("status",),
)
CLASSES = Resource(
    group=GROUP,
    versions=("v1",),
    kind="VolumeSnapshotClass",
    plural="volumesnapshotclasses",
    short_names=("vsclass", "vsclasses"),
    namespaced=False,
)
