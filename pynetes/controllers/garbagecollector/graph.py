"""Who owns whom: every object of the cluster as a node, found by UID, with its owners and its dependents.

An owner that a dependent names but no informer has shown is a virtual node: it may exist and be late, or be gone; only
the API server knows. Each change returns the UIDs that now deserve a look, which is nothing for the ordinary case of a
dependent whose owner is there and alive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pynetes.machinery.meta import UID, Key, Object, is_deleting, key_of, owners_of, uid_of
from pynetes.machinery.resource import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass
class Node:
    """One object, or one that is only spoken of (virtual), as its dependents name it."""

    uid: UID
    key: Key
    #: None while virtual: then `reference` says what it is, as a dependent in namespace key.namespace wrote it.
    resource: Resource | None = None
    reference: Object | None = None
    owners: Sequence[Object] = ()
    dependents: set[UID] = field(default_factory=set)
    deleting: bool = False
    #: It is deleted in the foreground, and waits for the dependents that block it.
    waits: bool = False
    #: It is deleted, and its dependents are to live on.
    orphans: bool = False

    @property
    def virtual(self) -> bool:
        """Whether no informer has shown it."""
        return self.resource is None

    def blocks(self, owner: UID) -> bool:
        """Whether owner's foreground deletion waits for this object."""
        return any(ref["uid"] == owner and ref.get("blockOwnerDeletion") for ref in self.owners)


class Graph:
    """The nodes. Nothing here does I/O."""

    def __init__(self) -> None:
        self._nodes: dict[UID, Node] = {}

    def get(self, uid: UID) -> Node | None:
        """The node, None when nothing is known of it."""
        return self._nodes.get(uid)

    def dependents(self, uid: UID) -> list[Node]:
        """The objects that name it as an owner."""
        node = self._nodes.get(uid)
        return [self._nodes[each] for each in node.dependents] if node else []

    def put(self, resource: Resource, obj: Object) -> list[UID]:
        """An object was made or changed."""
        uid = uid_of(obj)
        node = self._nodes.get(uid)
        if node is None:
            node = self._nodes[uid] = Node(uid, key_of(obj))
        node.resource, node.key, node.reference = resource, key_of(obj), None
        look = self._own(node, list(owners_of(obj)))
        waited, orphaned = node.waits, node.orphans
        finalizers = obj["metadata"].get("finalizers") or ()
        node.deleting = is_deleting(obj)
        node.waits = node.deleting and FOREGROUND in finalizers
        node.orphans = node.deleting and ORPHAN in finalizers
        if node.waits and not waited:
            look += [uid, *node.dependents]
        if node.orphans and not orphaned:
            look.append(uid)
        return look

    def _own(self, node: Node, owners: list[Object]) -> list[UID]:
        """Give the node these owners; the look-worthy are virtual and waiting ones, and the node if one is waiting."""
        before, after = {ref["uid"] for ref in node.owners}, {ref["uid"] for ref in owners}
        unblocked = [ref["uid"] for ref in node.owners if node.blocks(ref["uid"])]
        node.owners = owners
        look: list[UID] = []
        for uid in before - after:
            self._drop_dependent(uid, node.uid)
        look += [uid for uid in unblocked if (owner := self.get(uid)) and owner.waits and not node.blocks(uid)]
        for ref in owners:
            if ref["uid"] in before:
                continue
            owner = self._nodes.get(ref["uid"])
            if owner is None:
                owner = self._nodes[ref["uid"]] = Node(ref["uid"], Key(node.key.namespace, ref["name"]), reference=ref)
            owner.dependents.add(node.uid)
            if owner.virtual:
                look.append(owner.uid)
            elif owner.waits:
                look.append(node.uid)
        return look

    def _drop_dependent(self, owner_uid: UID, uid: UID) -> None:
        owner = self._nodes.get(owner_uid)
        if owner is None:
            return
        owner.dependents.discard(uid)
        if owner.virtual and not owner.dependents:
            del self._nodes[owner_uid]

    def remove(self, uid: UID) -> list[UID]:
        """An object is gone: its dependents have lost an owner, its waiting owners a dependent."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return []
        look = list(node.dependents)
        for ref in node.owners:
            self._drop_dependent(ref["uid"], uid)
            owner = self._nodes.get(ref["uid"])
            if owner is not None and owner.waits:
                look.append(owner.uid)
        # Its dependents still name it; whoever looks finds it absent.
        return look

    def blocking(self, uid: UID) -> list[Node]:
        """The dependents for which a foreground deletion waits."""
        return [node for node in self.dependents(uid) if node.blocks(uid)]

    def __len__(self) -> int:
        return len(self._nodes)


def split(
    owners: Iterable[Object], solid: Iterable[UID], waiting: Iterable[UID]
) -> tuple[list[UID], list[UID], list[UID]]:
    """The UIDs of the owners that live, that are gone, and that wait for their dependents."""
    living, waits = set(solid), set(waiting)
    uids = [UID(ref["uid"]) for ref in owners]
    return (
        [uid for uid in uids if uid in living],
        [uid for uid in uids if uid not in living and uid not in waits],
        [uid for uid in uids if uid in waits],
    )
