"""Holds the size caps: small files and functions are what keeps the code readable.

Prints what is over a cap and the distribution; exits 1 when a hard cap or a percentile is broken.
"""

import ast
import sys
from pathlib import Path
from statistics import median, quantiles

FILE_HARD, FILE_95, FILE_MEDIAN = 800, 500, 150
FUNCTION_HARD, FUNCTION_95, FUNCTION_MEDIAN = 70, 40, 10
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def functions(source: str, path: Path) -> list[tuple[str, int]]:
    """Name and length of every function, without its decorators and docstring."""
    found = []
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            skipped = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            found.append((f"{path}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1 - skipped))
    return found


def report(what: str, sizes: list[tuple[str, int]], *, hard: int, ninety_five: int, middle: int) -> bool:
    """Print one line of figures and every size over the hard cap; whether all caps hold."""
    lengths = sorted(size for _, size in sizes)
    p95 = quantiles(lengths, n=20)[-1] if len(lengths) > 1 else lengths[0]
    print(
        f"{what}: {len(lengths)}, median {median(lengths):.0f} (cap {middle}), 95 % {p95:.0f} (cap {ninety_five}),"
        f" largest {lengths[-1]} (cap {hard})"
    )
    for name, size in sizes:
        if size > hard:
            print(f"  {name}: {size} lines, over the cap of {hard}")
    return lengths[-1] <= hard and p95 <= ninety_five and median(lengths) <= middle


def main() -> int:
    """Measure pynetes/."""
    files: list[tuple[str, int]] = []
    all_functions: list[tuple[str, int]] = []
    for path in sorted(Path("pynetes").rglob("*.py")):
        if path.name.endswith(GENERATED):
            continue
        source = path.read_text()
        files.append((str(path), source.count("\n")))
        all_functions += functions(source, path)
    good = report("files", files, hard=FILE_HARD, ninety_five=FILE_95, middle=FILE_MEDIAN)
    good &= report("functions", all_functions, hard=FUNCTION_HARD, ninety_five=FUNCTION_95, middle=FUNCTION_MEDIAN)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
