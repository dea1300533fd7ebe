"""Files of instructions: what is told about them, and how a row becomes a request."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from fenzhang.api.problems import field_errors
from fenzhang.api.schemas.settlement import TypedItem
from fenzhang.domain.errors import InvalidAmount, InvalidInput, InvalidReference, UnknownCurrency
from fenzhang.intake.files.rows import TYPE
from fenzhang.intake.requests import SettlementRequest

_ITEMS = {
    get_args(model.model_fields[TYPE].annotation)[0]: model for model in get_args(get_args(TypedItem)[0])
}
"""The schema of each type."""
_BY_CODE = {error.code: error for error in (InvalidAmount, InvalidReference, UnknownCurrency)}


class FileAnswer(BaseModel):
    """A file as it stands. Each row that is decided is accepted, known (accepted before) or rejected."""

    out_file_no: str
    format: Literal["csv", "jsonl"]
    state: Literal["RECEIVED", "PROCESSING", "DONE"]
    sha256: str = Field(description="Of the bytes that were uploaded, hexadecimal.")
    bytes: int
    bytes_processed: int
    lines: int = Field(description="Header and blank lines included.")
    rows: int = Field(description="Rows that are decided: the sum of the next three.")
    accepted: int
    known: int
    rejected: int
    received_at: int
    started_at: int | None
    finished_at: int | None
    request_id: str | None


class FileList(BaseModel):
    """A page; `next` is the cursor of the next one, null on the last."""

    files: list[FileAnswer]
    next: str | None


def request_of(item: Any) -> SettlementRequest:
    """What an item of a batch asks for. Raises InvalidInput naming the first field and telling about all."""
    if not isinstance(item, dict):
        raise InvalidInput("row", "a row is an object")
    model = _ITEMS.get(item.get(TYPE)) if isinstance(item.get(TYPE), str) else None
    if model is None:
        raise InvalidInput(TYPE, f"one of {', '.join(_ITEMS)}")
    try:
        request: SettlementRequest = model.model_validate(item).request()
    except ValidationError as error:
        first, *others = field_errors(error.errors(include_url=False))
        told = [first["message"], *(f"{other['field']}: {other['message']}" for other in others)]
        raise _BY_CODE.get(first["code"], InvalidInput)(first["field"], "; ".join(told)) from None
    return request
