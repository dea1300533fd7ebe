"""What commands print: one JSON object for programs, plain lines for people."""

from __future__ import annotations

import json
import sys


def print_json(value: object) -> None:
    """Print a value as JSON on standard output, readable and with a newline at its end."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
