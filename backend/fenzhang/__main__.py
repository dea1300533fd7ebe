"""`python -m fenzhang` is the `fenzhang` command."""

from __future__ import annotations

from fenzhang.cli import main

if __name__ == "__main__":
    main()
