"""`pynetes local-cloud`: a cloud for one machine."""

import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pynetes.cloud.localcloud import app
from pynetes.cloud.localcloud.config import BadConfig, read
from pynetes.cloud.localcloud.plumbing import Host
from pynetes.component import config as flags
from pynetes.component import logs, serving, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.config import option

COMPONENT = "local-cloud"
DESCRIPTION = (
    "A cloud for one machine: instances, load balancers (haproxy), routes and volumes behind an HTTPS API with tokens, "
    "described at /openapi.json, and the metadata service of each instance. `pynetes up --cloud local` runs it."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    config: str = option("--config", "", "Path of its configuration, as `pynetes up --cloud local` writes it.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = flags.parse(Config, argv, prog="pynetes local-cloud", description=DESCRIPTION)
    logs.setup(COMPONENT, verbosity=given.verbosity)
    if not given.config:
        raise BadConfig("--config is missing", "run `pynetes up --cloud local`, which writes the file")
    config = read(given.config)
    if not shutil.which("haproxy"):
        raise BadConfig("haproxy is not installed", "apt-get install haproxy")

    async def run() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serving.serve_paths(given.paths_socket, COMPONENT))
            await app.serve(config, Host(config), SystemClock(), stack)
            await tasks.forever()

    return tasks.run(run)
