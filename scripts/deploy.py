"""Deploy the contracts to a chain; the same as `fenzhang deploy`."""

from __future__ import annotations

import sys

import typer

from fenzhang.commands.deploy import register
from fenzhang.domain.errors import FenzhangError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
register(app)

if __name__ == "__main__":
    try:
        app()
    except FenzhangError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
