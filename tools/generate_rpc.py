"""Generates the gRPC stubs beside each .proto of pynetes/rpc; run it after changing one, and commit the result.

Needs grpcio-tools (the dev extra). The stubs are committed so that an installation needs no compiler.
"""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Compile every .proto; the exit status is protoc's."""
    well_known = resources.files("grpc_tools") / "_proto"
    for proto in sorted((ROOT / "pynetes" / "rpc").rglob("*.proto")):
        status = protoc.main(
            [
                "protoc",
                f"-I{ROOT}",
                f"-I{well_known}",
                f"--python_out={ROOT}",
                f"--pyi_out={ROOT}",
                f"--grpc_python_out={ROOT}",
                str(proto),
            ]
        )
        if status:
            return int(status)
    for stub in (ROOT / "pynetes" / "rpc").rglob("*_pb2_grpc.py"):
        if not _imported(stub):
            stub.unlink()
    return 0


def _imported(stub: Path) -> bool:
    """Whether a client or server of the service is made from it; of some protocols only the messages are needed."""
    sources = (path for path in (ROOT / "pynetes").rglob("*.py") if not path.stem.endswith("_pb2_grpc"))
    return any(f"rpc.{stub.parent.name} import" in text and stub.stem in text for text in map(Path.read_text, sources))


if __name__ == "__main__":
    sys.exit(main())
