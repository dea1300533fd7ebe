"""What can be wrong with a file as a whole, and with a row before anybody looks at what it asks for."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError, InvalidInput
from fenzhang.intake.errors import Conflict, Unknown


class UnknownFile(Unknown):
    """The platform has uploaded no such file."""

    code = "unknown_file"
    what = "file"


class FileNotDone(Conflict):
    """Some rows of the file are not decided yet."""

    code = "file_not_done"


class FileTooLarge(FenzhangError):
    """The file has more bytes or lines than a file may have."""

    code = "file_too_large"


class EmptyFile(InvalidInput):
    """The file has no bytes, which most often is an export that failed."""

    code = "empty_file"


class InvalidHeader(InvalidInput):
    """The first line of a CSV file does not name the columns of instructions. `field` is the column."""

    code = "invalid_header"


class LineTooLong(InvalidInput):
    """A line is longer than any row: this is no file of rows."""

    code = "line_too_long"


class NotUtf8(InvalidInput):
    """The row is not UTF-8 text."""

    code = "not_utf8"


class NotCsv(InvalidInput):
    """The row's quotes do not fit together."""

    code = "malformed_csv"


class ColumnCount(InvalidInput):
    """The row has more or fewer values than the header has columns."""

    code = "column_count"


class NotJson(InvalidInput):
    """The row is not JSON of one meaning."""

    code = "malformed_json"
