"""What the specification demands of a request before anything is done, and the words in which it is refused."""

from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager

from pynetes.csi.local import filesystem
from pynetes.csi.local.store import Busy, Snapshot, Store, Volume, is_id
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure

MODES = pb.VolumeCapability.AccessMode.Mode
READ_ONLY_MODES = frozenset({MODES.SINGLE_NODE_READER_ONLY, MODES.MULTI_NODE_READER_ONLY})
MULTI_NODE_MODES = frozenset(
    {MODES.MULTI_NODE_READER_ONLY, MODES.MULTI_NODE_SINGLE_WRITER, MODES.MULTI_NODE_MULTI_WRITER}
)
#: Volumes are multiples of this, as filesystems' blocks are.
GRAIN = 4096
DEFAULT_SIZE = 1 << 30
#: The smallest volume that gets a filesystem; ext4 with its journal needs about as much.
SMALLEST = 16 << 20


def require(**members: object) -> None:
    """Every member of the request that is named must be there. Raises INVALID_ARGUMENT."""
    for name, value in members.items():
        if not value:
            raise Failure("INVALID_ARGUMENT", f"{name} is missing")


def capability_problem(capability: pb.VolumeCapability) -> str:
    """Why no volume of this driver can have a capability; "" if it can."""
    if capability.WhichOneof("access_type") is None:
        return "neither block nor mount is said"
    if capability.access_mode.mode == MODES.UNKNOWN or capability.access_mode.mode not in MODES.values():
        return "the access mode is missing or unknown"
    fs_type = capability.mount.fs_type
    if capability.HasField("mount") and fs_type and fs_type not in filesystem.TYPES:
        return f"fs_type {fs_type!r} is none of {', '.join(filesystem.TYPES)}"
    return ""


def check_capabilities(capabilities: Iterable[pb.VolumeCapability]) -> bool:
    """Whether they ask for a block device. Raises INVALID_ARGUMENT if they cannot be had."""
    given = list(capabilities)
    require(volume_capabilities=given)
    for one in given:
        if problem := capability_problem(one):
            raise Failure("INVALID_ARGUMENT", f"volume_capabilities: {problem}")
    kinds = {one.WhichOneof("access_type") for one in given}
    if len(kinds) > 1:
        raise Failure("INVALID_ARGUMENT", "volume_capabilities: a volume is either a block device or a filesystem")
    return kinds == {"block"}


def fs_type_of(capabilities: Iterable[pb.VolumeCapability]) -> str:
    """The filesystem that they ask for; "" if any will do."""
    return next((one.mount.fs_type for one in capabilities if one.mount.fs_type), "")


def size_of(range_: pb.CapacityRange, *, least: int = 0, block: bool = False) -> int:
    """The size for a range; least is that of a source. Raises OUT_OF_RANGE, or INVALID_ARGUMENT for nonsense."""
    required, limit = range_.required_bytes, range_.limit_bytes
    if required < 0 or limit < 0 or (limit and required > limit):
        raise Failure("INVALID_ARGUMENT", f"capacity_range: {required} to {limit} bytes is no range")
    if least and required and required < least:
        raise Failure("OUT_OF_RANGE", f"capacity_range: {required} bytes, but the source has {least}")
    wanted = max(required, least) or (min(DEFAULT_SIZE, limit) if limit else DEFAULT_SIZE)
    smallest = GRAIN if block else SMALLEST
    size = -(-max(wanted, smallest) // GRAIN) * GRAIN
    if limit and size > limit:
        raise Failure("OUT_OF_RANGE", f"capacity_range: a volume has at least {size} bytes, but {limit} is the limit")
    return size


def found_volume(store: Store, identity: str) -> Volume:
    """A volume that must be there. Raises INVALID_ARGUMENT or NOT_FOUND."""
    require(volume_id=identity)
    volume = store.volume(identity)
    if volume is None:
        raise Failure("NOT_FOUND", f"there is no volume {identity}")
    return volume


def found_snapshot(store: Store, identity: str) -> Snapshot:
    """A snapshot that must be there. Raises INVALID_ARGUMENT or NOT_FOUND."""
    require(snapshot_id=identity)
    snapshot = store.snapshot(identity)
    if snapshot is None:
        raise Failure("NOT_FOUND", f"there is no snapshot {identity}")
    return snapshot


@asynccontextmanager
async def alone(store: Store, *identities: str) -> AsyncIterator[None]:
    """Hold these volumes or snapshots. Raises ABORTED while another call does, as the specification wants."""
    with ExitStack() as stack:
        try:
            for identity in sorted(set(identities)):
                if is_id(identity):
                    stack.enter_context(store.locked(identity))
        except Busy as busy:
            raise Failure("ABORTED", f"an operation on {busy} is pending") from None
        yield


def page(entries: list[str], token: str, most: int) -> tuple[list[str], str]:
    """A page of sorted IDs after a token, and the token of the next. Raises ABORTED for a token that is none."""
    if most < 0:
        raise Failure("INVALID_ARGUMENT", "max_entries is negative")
    if token and not token.startswith(("v-", "s-")):
        raise Failure("ABORTED", f"starting_token {token!r} is none of this driver's")
    rest = [entry for entry in entries if entry > token]
    taken = rest[:most] if most else rest
    return taken, taken[-1] if len(taken) < len(rest) else ""
