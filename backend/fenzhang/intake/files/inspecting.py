"""A look at the bytes of a file as they arrive: how many they are, their hash, and whether they are lines at all."""

from __future__ import annotations

from hashlib import sha256

from fenzhang.intake.files.cutting import BOM, MAX_RECORD_BYTES, FileFormat, header_cells
from fenzhang.intake.files.errors import EmptyFile, FileTooLarge, LineTooLong
from fenzhang.intake.files.rows import checked_columns

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_ROWS = 200_000
MAX_LINES = MAX_ROWS + 1
"""A header, and rows of one line each; no value of an instruction has a line break in it."""


class Inspection:
    """What is known of a file after each piece of it."""

    def __init__(self, file_format: FileFormat) -> None:
        self.format = file_format
        self.columns: list[str] = []
        """Of a CSV file, once its header has arrived."""
        self.size = 0
        self.first_record = 0
        """Where the records begin: after a byte order mark and the header."""
        self._breaks = 0
        self._hash = sha256()
        self._tail = 0
        """Bytes since the last line break."""
        self._head: bytes | None = b""
        """What has arrived of the first line, None when it is complete."""

    @property
    def lines(self) -> int:
        """Lines so far, the last one also without its line break."""
        return self._breaks + bool(self._tail)

    @property
    def sha256(self) -> bytes:
        """Of all bytes so far."""
        return self._hash.digest()

    def feed(self, piece: bytes) -> None:
        """Look at the next piece. Raises FileTooLarge, LineTooLong and InvalidHeader."""
        self._hash.update(piece)
        self.size += len(piece)
        if self.size > MAX_FILE_BYTES:
            raise FileTooLarge(f"a file has at most {MAX_FILE_BYTES} bytes", limit=MAX_FILE_BYTES)
        self._measure(piece)
        if self.lines > MAX_LINES:
            raise FileTooLarge(f"a file has at most {MAX_ROWS} rows", limit=MAX_ROWS)
        if self._head is not None:
            line, found, _ = piece.partition(b"\n")
            self._head += line + found
            if found:
                self._read_head(self._head)

    def end(self) -> None:
        """There are no more pieces. Raises EmptyFile and InvalidHeader."""
        if not self.size:
            raise EmptyFile("body", "the file is empty")
        if self._head is not None:
            self._read_head(self._head)

    def _measure(self, piece: bytes) -> None:
        for number, line in enumerate(piece.split(b"\n")):
            if number:
                self._breaks += 1
                self._tail = 0
            self._tail += len(line)
            # With its line break it is as long as a record may be.
            if self._tail >= MAX_RECORD_BYTES:
                raise LineTooLong(
                    "body", f"line {self.lines} has {MAX_RECORD_BYTES} bytes or more", line=self.lines
                )

    def _read_head(self, head: bytes) -> None:
        self._head = None
        if self.format is FileFormat.CSV:
            self.columns = checked_columns(header_cells(head))
            self.first_record = len(head)
        elif head.startswith(BOM):
            self.first_record = len(BOM)
