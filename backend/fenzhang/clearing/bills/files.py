"""Bills as files: their hash is known before the first byte leaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryFile

from fenzhang.clearing.bills.formats import compress
from fenzhang.clearing.bills.making import Bill, Made, make
from fenzhang.store.session import Database

PACKED = ".gz"
"""Ends the name of a bill that is compressed."""
_HASHES = ".sha256"
_UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A bill in a file without a name, read from its beginning. Who closes the file deletes it."""

    made: Made
    file: BufferedRandom
    sha256: bytes
    """Of the file: of the bill itself, or of its gzip."""
    size: int


async def spool(database: Database, bill: Bill, depth: int, *, packed: bool) -> Spooled:
    """Make a bill, and compress it if it is to be `packed`. Raises DayNotFinal, BillDoesNotAddUp."""
    # Open, for the caller reads it; it is deleted when it is closed, and closed when it is forgotten.
    file = TemporaryFile()  # noqa: SIM115 -- as said
    try:
        made = await make(database, bill, depth, file)
        if packed:
            file = await asyncio.to_thread(_packed, file)
        file.seek(0)
        digest = file_digest(file, "sha256").digest()
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Spooled(made, file, digest, size)


async def write(database: Database, bill: Bill, depth: int, folder: Path, *, packed: bool) -> Path:
    """Write a bill into a folder, and beside it NAME.sha256 as sha256sum reads it. Returns the bill's file.

    The file has the hash of the bill, and of its gzip where that is what was written. Raises DayNotFinal,
    BillDoesNotAddUp, OSError.
    """
    spooled = await spool(database, bill, depth, packed=packed)
    hashes = {bill.file_name: spooled.made.sha256}
    target = folder / (bill.file_name + (PACKED if packed else ""))
    hashes[target.name] = spooled.sha256
    with spooled.file:
        await asyncio.to_thread(_place, spooled.file, target)
    listed = "".join(f"{digest.hex()}  {name}\n" for name, digest in hashes.items())
    (folder / (bill.file_name + _HASHES)).write_text(listed, encoding="utf-8", newline="")
    return target


def _packed(file: BufferedRandom) -> BufferedRandom:
    with file:
        file.seek(0)
        out = TemporaryFile()  # noqa: SIM115 -- see `spool`
        compress(file, out)
    return out


def _place(file: BufferedRandom, target: Path) -> None:
    """Copy to a name where nobody ever sees half of it."""
    draft = target.with_name(target.name + _UNFINISHED)
    with draft.open("wb") as out:
        while piece := file.read(1 << 20):
            out.write(piece)
    draft.replace(target)
