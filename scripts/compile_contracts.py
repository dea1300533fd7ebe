"""Compile contracts/ into contracts/artifacts/, or with --check compare with what is committed there."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fenzhang.chain.compile import (
    MAX_DEPLOYED_BYTES,
    compile_project,
    differences,
    find_compiler,
    write_artifacts,
)
from fenzhang.domain.errors import FenzhangError

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Exit code 0: written, or the same; 1: differs, or does not compile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the artifacts are not up to date"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.root / "contracts" / "artifacts"
    try:
        compiler = find_compiler(options.root)
        began = time.monotonic()
        artifacts = compile_project(options.root, compiler)
    except FenzhangError as error:
        print(error, file=sys.stderr)
        return 1
    kind = "native solc" if compiler.native else "npm solc"
    print(f"{len(artifacts)} artifacts with {kind} in {time.monotonic() - began:.1f} s; bytes on chain:")
    for artifact in artifacts:
        if artifact.deployed_bytes:
            share = artifact.deployed_bytes / MAX_DEPLOYED_BYTES
            print(
                f"  {artifact.name:24} {artifact.deployed_bytes:6,} of {MAX_DEPLOYED_BYTES:,} ({share:.0%})"
            )
    if not options.check:
        write_artifacts(folder, artifacts)
        return 0
    found = differences(folder, artifacts)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
