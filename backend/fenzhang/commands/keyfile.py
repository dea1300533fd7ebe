"""Key files given on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from fenzhang.chain.signer import LocalKey

PASSWORD_VARIABLE = "FENZHANG_KEY_PASSWORD"  # noqa: S105 -- the name of a variable, not a password


def read_key(path: Path) -> LocalKey:
    """The key in a file. Its password is read from the environment, else asked for if the file needs one."""
    from fenzhang.chain.errors import WrongPassword
    from fenzhang.chain.keystore import load_key

    password = os.environ.get(PASSWORD_VARIABLE)
    try:
        return load_key(path, password)
    except WrongPassword:
        if password is not None:
            raise
    return load_key(path, typer.prompt("Password of the key file", hide_input=True, err=True))
