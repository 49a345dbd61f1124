"""`pynetes preflight`: whether this machine can run a cluster, and what is missing."""

import dataclasses
from collections.abc import Sequence

from pynetes.cluster import config, packages, preflight
from pynetes.cluster.addons import catalog, manifests
from pynetes.cluster.config import Cluster
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Print every problem with its remedy; with --install fetch the missing packages."""
    parser = common.parser("preflight", __doc__)
    parser.add_argument("--install", action="store_true", help="install the missing Debian packages")
    parser.add_argument(
        "--with",
        dest="more",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,…",
        help="… for these add-ons; `all` for every one",
    )
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = config.load(given.cluster, given.data_dir) or Cluster(name=given.cluster, data_dir=given.data_dir)
        more = tuple(catalog.BY_NAME) if given.more == ["all"] else given.more
        cluster = dataclasses.replace(cluster, addons=(*cluster.addons, *more))
        missing = packages.missing(manifests.packages(cluster))
        if given.install:
            await packages.install(missing)
            print("packages: all there")
            return 0
        problems = preflight.before_packages(cluster)
        for problem in problems:
            print(f"problem: {problem.message}\n remedy: {problem.remedy}")
        print(f"packages to install: {', '.join(missing) or 'none'}")
        if not problems:
            print("This machine can run a cluster.")
        return 1 if problems else 0

    return common.run(work)
