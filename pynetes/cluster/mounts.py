"""Mounts that cross from pods to the machine: what a storage driver mounts in its pod has to reach the other pods.

That takes a shared mount, which most machines have for all of / and some, containers and small virtual machines among
them, do not.
"""

from pathlib import Path

from pynetes.component import command


async def share(folder: Path) -> bool:
    """See that mounts below a folder are shared, if need be by making a mount of it; whether that was needed."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_shared(folder):
        return False
    if not any(line.split()[4] == str(folder) for line in _lines()):
        await command.run(["mount", "--rbind", str(folder), str(folder)])
    await command.run(["mount", "--make-rshared", str(folder)])
    return True


def is_shared(folder: Path) -> bool:
    """Whether the mount that a folder is on passes on what is mounted below it."""
    found = max(
        (line for line in _lines() if folder.is_relative_to(line.split()[4])), key=lambda line: len(line.split()[4])
    )
    return any(word.startswith("shared:") for word in found.partition(" - ")[0].split()[6:])


def _lines() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()
