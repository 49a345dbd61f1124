"""Gives a volume's files to the pod's fsGroup: group, permissions, and setgid on folders so that new files follow.

With fsGroupChangePolicy OnRootMismatch a volume whose top already looks right is left alone: walking millions of files
would hold up the pod for minutes.
"""

import os
import stat
from pathlib import Path

from pynetes.machinery.meta import Object

READ_WRITE, READ_ONLY, FOLDER = 0o660, 0o440, 0o110


def apply(path: Path, pod: Object, *, read_only: bool = False) -> None:
    """Change owner and modes below path where the pod has an fsGroup; links themselves are changed, never followed."""
    context = pod["spec"].get("securityContext") or {}
    group = context.get("fsGroup")
    if group is None:
        return
    bits = READ_ONLY if read_only else READ_WRITE
    if context.get("fsGroupChangePolicy") == "OnRootMismatch" and _matches(path, int(group), bits):
        return
    for base, folders, files in os.walk(path, topdown=False):
        for name in (*files, *(one for one in folders if Path(base, one).is_symlink())):
            _change(Path(base, name), int(group), bits)
        _change(Path(base), int(group), bits)


def _matches(path: Path, group: int, bits: int) -> bool:
    found = path.stat()
    wanted = bits | FOLDER | stat.S_ISGID
    return found.st_gid == group and found.st_mode & wanted == wanted


def _change(path: Path, group: int, bits: int) -> None:
    found = path.lstat()
    if found.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return
    extra = FOLDER | stat.S_ISGID if stat.S_ISDIR(found.st_mode) else 0
    wanted = stat.S_IMODE(found.st_mode) | bits | extra
    # chown may have taken setgid away.
    if stat.S_IMODE(path.lstat().st_mode) != wanted:
        path.chmod(wanted)
