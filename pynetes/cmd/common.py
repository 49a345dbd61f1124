"""What the commands about a cluster share: its flags, and how errors reach a person."""

import argparse
import asyncio
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pynetes.cluster import config
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.component import logs
from pynetes.component.config import Parser
from pynetes.component.remedy import RemedyError, told

T = TypeVar("T")


#: Where Debian keeps nft, iptables and ip; `su` and cron leave them out of PATH.
SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


def parser(command: str, description: str) -> Parser:
    """A parser with the flags that name a cluster."""
    text = inspect.cleandoc(description)
    made = Parser(
        prog=f"pynetes {command}",
        description=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--cluster", default="pynetes", metavar="NAME", help="the cluster's name (default: pynetes)")
    made.add_argument(
        "--data-dir",
        default="",
        type=lambda text: text and str(Path(text).resolve()),
        metavar="DIR",
        help="where its state is (default: /var/lib/pynetes/NAME)",
    )
    return made


def cluster_of(given: argparse.Namespace) -> Cluster:
    """The cluster named by the flags; an error when there is none."""
    return config.require(given.cluster, given.data_dir)


def run(work: Callable[[], Awaitable[int]]) -> int:
    """Run a command to its exit status; what it could not do is told in one line, with the remedy."""

    async def main() -> int:
        return await work()

    path = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join(filter(None, [*path, *(place for place in SYSTEM if place not in path)]))
    try:
        return asyncio.run(main())
    except RemedyError as error:
        return told(error)
    except PermissionError as error:
        return told(ClusterError(f"{error.filename}: permission denied", "run it as root"))
    except BrokenPipeError:
        # Whoever read this has seen enough; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Rows as kubectl prints them: columns as wide as their widest cell, never wrapped or cut, and nothing in them that
    a terminal would obey."""
    listed = [[logs.printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in listed) for column in range(len(listed[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in listed)
    return "\n".join(line.rstrip() for line in lines)
