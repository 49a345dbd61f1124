"""Files that somebody else writes again while we run: certificates, keys, configurations.

No watch on the file system: whoever needs the content looks first whether it is still the one it knows, which costs
two microseconds, and so never uses what is not there any more.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


def stamp(paths: Iterable[Path]) -> tuple[tuple[int, int, int], ...]:
    """Changes when a file does, replaced or rewritten. Raises OSError."""
    return tuple((found.st_ino, found.st_mtime_ns, found.st_size) for found in (path.stat() for path in paths))


class Reread(Generic[T]):
    """What `read` makes of files, made again when one of them has changed. The first reading may raise; later ones
    keep the last good value, and `failed` hears what is wrong."""

    def __init__(
        self,
        paths: Iterable[Path],
        read: Callable[[], T],
        *,
        failed: Callable[[Exception], None] = lambda error: None,
        problems: tuple[type[Exception], ...] = (OSError, ValueError),
    ) -> None:
        self._paths, self._read, self._failed, self._problems = tuple(paths), read, failed, problems
        self._seen = stamp(self._paths)
        self._value = read()

    def refresh(self) -> bool:
        """Look at the files; whether there is a new value."""
        try:
            found = stamp(self._paths)
        except OSError as error:
            self._failed(error)
            return False
        if found == self._seen:
            return False
        # A file that is wrong is told once, not at every look.
        self._seen = found
        try:
            self._value = self._read()
        except self._problems as error:
            self._failed(error)
            return False
        return True

    @property
    def value(self) -> T:
        """As it was at the last look."""
        return self._value

    def current(self) -> T:
        """As the files are now."""
        self.refresh()
        return self._value
