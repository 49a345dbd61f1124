"""Settings of glibc's allocator for processes that run for months on small machines.

By default each thread that allocates gets an arena of its own, and the size from which memory is taken from the kernel,
to be given back when it is freed, grows with what is freed. Then the buffers of a thousand connections (256 KiB each,
of which TLS touches little) end up in the heap, and stay there when the connections have gone.
"""

import ctypes

#: mallopt's names for what it sets, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: From this size on a buffer is the kernel's; larger than what is allocated for every slice of a long answer.
MAPPED = 256 << 10
#: What may be free at the end of the heap.
SPARE = 4 << 20


def tune() -> None:
    """Set them for this process. Another C library keeps its own ways."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, MAPPED), (_TRIM_THRESHOLD, SPARE)):
            mallopt(parameter, value)
