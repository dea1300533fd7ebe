"""`make faults`: kill, cut, fill and confuse a running system, and see whether anything is lost.

Exit code 0: nothing was lost, doubled or wrong. 1: something was, and the last line says how to repeat it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.faults.campaign import ALL, Campaign, table
from support.faults.system import POSTGRES, SQLITE


def main() -> int:
    """Run the campaign that the command line asks for."""
    options = _parser().parse_args()
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    databases = [options.database] if options.database else [SQLITE, POSTGRES]
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    campaign = Campaign(seed, options.rounds, databases, options.only, say, short=options.short)
    # Told to end, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = asyncio.run(campaign.run())
    print("\n" + "\n".join(table(results)))
    failed = [result for result in results if not result.survived]
    for result in failed:
        print(f"\n{result.scenario.name} on {result.database}:")
        print("\n".join(f"  {problem}" for problem in result.problems))
        print(
            f"  repeat: make faults FAULTS='--seed {seed} --only {result.scenario.name} "
            f"--database {result.database} --rounds {options.rounds}'"
        )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else "",
        epilog="scenarios: " + "; ".join(f"{scenario.name} ({scenario.what})" for scenario in ALL),
    )
    parser.add_argument("--rounds", type=int, default=100, help="rounds of random kills (100)")
    parser.add_argument("--seed", type=int, help="seed of all chance; drawn and shown by default")
    parser.add_argument("--only", metavar="NAME", choices=[s.name for s in ALL], help="one scenario")
    parser.add_argument("--database", choices=[SQLITE, POSTGRES], help="one database; both by default")
    parser.add_argument("--short", action="store_true", help="as few rounds as the test suite plays")
    return parser


if __name__ == "__main__":
    sys.exit(main())
