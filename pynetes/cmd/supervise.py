"""`pynetes supervise RUN_DIR LOG_DIR`: the process that keeps a cluster's processes alive; `up` starts it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pynetes.cluster import supervisor


def main(argv: Sequence[str]) -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="pynetes supervise", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("log_dir", type=Path)
    given = parser.parse_args(argv)
    return supervisor.main(given.run_dir, given.log_dir)
