"""`pynetes audit-security`: the CIS Kubernetes Benchmark, judged on the running cluster.

One line per control: met, with the evidence; not applicable or refused, with the reason; FAILED, with what is wrong.
Users' objects are judged too: a privileged pod of yours is told here.
"""

from collections.abc import Sequence

import orjson

from pynetes.cluster import benchmark
from pynetes.cluster.benchmark import facts
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when a control has failed."""
    parser = common.parser("audit-security", __doc__ or "")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--failed", action="store_true", help="only what has failed")
    given = parser.parse_args(argv)

    async def work() -> int:
        found = list(benchmark.judged(await facts.gather(common.cluster_of(given))))
        failed = [one for one in found if one.verdict.status == benchmark.FAILED]
        rows = [
            (one.control.number, one.verdict.status, one.control.title, one.verdict.why)
            for one in (failed if given.failed else found)
        ]
        if given.json:
            names = ("control", "status", "title", "evidence")
            print(orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]).decode())
        else:
            print(common.columns([("CONTROL", "STATUS", "TITLE", "EVIDENCE"), *rows]))
            counts = {status: sum(one.verdict.status == status for one in found) for status in STATUSES}
            print(f"\n{', '.join(f'{count} {status}' for status, count in counts.items())}")
        return 1 if failed else 0

    return common.run(work)


STATUSES = (benchmark.MET, benchmark.NOT_APPLICABLE, benchmark.REFUSED, benchmark.FAILED)
