"""Field types of the API: strict, checked by the domain, and described as they are checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fenzhang.domain.days import check_date
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.facts import CODE_PATTERN
from fenzhang.domain.identifiers import REFERENCE_PATTERN, check_reference
from fenzhang.domain.money import CURRENCIES, MAX_AMOUNT, check_amount, check_currency
from fenzhang.domain.rules import MAX_LEGS
from fenzhang.intake.limits import MAX_BINDINGS

HEX_ID_PATTERN = "^0x[0-9a-fA-F]{64}$"
NAME_PATTERN = f"^(0x[0-9a-fA-F]{{64}}|{REFERENCE_PATTERN.strip('^$')})$"
_HEX_ID = re.compile(r"0x[0-9a-fA-F]{64}\Z")
_MAX_NONCE = 2**256 - 1


class Model(BaseModel):
    """A request or answer. Unknown fields are refused, and no value is converted into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _by(check: Callable[[str, Any], Any]) -> PlainValidator:
    """A validator that asks the domain; its code is the domain's."""

    def validate(value: Any) -> Any:
        try:
            return check("value", value)
        except InvalidInput as error:
            message = error.message.removeprefix("value: ")
            raise PydanticCustomError(error.code, "{message}", {"message": message}) from None

    return PlainValidator(validate)


def _text(check: Callable[[str, str], str]) -> Callable[[str, Any], str]:
    def checked(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidInput(field, "must be text")
        return check(field, value)

    return checked


def _check_name(field: str, value: str) -> str:
    return value.lower() if _HEX_ID.match(value) else check_reference(field, value)


def _check_nonce(field: str, value: str) -> int:
    pattern = r"0x[0-9a-fA-F]{1,64}\Z|[0-9]{1,78}\Z"
    number = int(value, 0 if value.startswith("0x") else 10) if re.match(pattern, value) else -1
    if not 0 <= number <= _MAX_NONCE:
        raise InvalidInput(field, "a nonce is an unsigned 256-bit integer as decimal or 0x text")
    return number


def _check_hex(pattern: str, what: str) -> Callable[[str, str], bytes]:
    compiled = re.compile(pattern.strip("^$") + r"\Z")

    def check(field: str, value: str) -> bytes:
        if not compiled.match(value):
            raise InvalidInput(field, what)
        return bytes.fromhex(value[2:])

    return check


def _hex_type(pattern: str, what: str) -> tuple[Any, ...]:
    check = _check_hex(pattern, what)

    def checked(field: str, value: Any) -> bytes:
        if not isinstance(value, str):
            raise InvalidInput(field, what)
        return check(field, value)

    return (_by(checked), WithJsonSchema({"type": "string", "pattern": pattern, "description": what}))


Amount = Annotated[
    int,
    _by(check_amount),
    WithJsonSchema(
        # An exclusive bound that doubles hold exactly: many tools read the numbers of a schema as doubles.
        {
            "type": "integer",
            "minimum": 1,
            "exclusiveMaximum": MAX_AMOUNT + 1,
            "description": "Minor units, ISO 4217.",
        }
    ),
]
"""A positive count of minor units."""
LeafAmount = Annotated[
    int, Field(ge=0, lt=MAX_AMOUNT + 1, description="Minor units; 0 leaves this leaf alone.")
]
GivenAmounts = Annotated[
    list[Annotated[int, Field(ge=0, lt=MAX_AMOUNT + 1, description="Minor units.")]],
    Field(min_length=1, max_length=MAX_LEGS),
]
"""What each GIVEN leg of a rule takes, in leg order."""
Reference = Annotated[
    str,
    _by(_text(check_reference)),
    WithJsonSchema({"type": "string", "pattern": REFERENCE_PATTERN, "minLength": 1, "maxLength": 64}),
]
"""A client's own reference."""
ParticipantName = Annotated[
    str,
    _by(_text(_check_name)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": NAME_PATTERN,
            "description": "The platform's own reference of a participant, or its 0x id.",
        }
    ),
]
Currency = Annotated[
    str,
    _by(_text(check_currency)),
    WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES), "description": "ISO 4217 letter code."}),
]
Date = Annotated[
    str,
    _by(_text(check_date)),
    WithJsonSchema({"type": "string", "format": "date", "description": "YYYY-MM-DD, from 1970 on."}),
]
FactCode = Annotated[str, Field(pattern=CODE_PATTERN, description="A short code, as the platform uses it.")]
RoleName = Annotated[str, Field(pattern="^[a-z0-9_-]{1,32}$")]
Bindings = Annotated[
    dict[RoleName, ParticipantName],
    Field(max_length=MAX_BINDINGS, json_schema_extra={"additionalProperties": False}),
]
"""Participant per role."""
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
Timestamp = Annotated[int, Field(ge=0, le=2**53 - 1, description="Unix seconds.")]
Height = Annotated[int, Field(ge=0, le=2**53 - 1, description="Number of a block.")]
HexId = Annotated[bytes, *_hex_type(HEX_ID_PATTERN, "0x and 64 hexadecimal digits.")]
Address = Annotated[bytes, *_hex_type("^0x[0-9a-fA-F]{40}$", "An address: 0x and 40 hexadecimal digits.")]
SignatureBytes = Annotated[
    bytes, *_hex_type("^0x([0-9a-fA-F]{2}){1,4096}$", "A signature: 0x and hexadecimal digits.")
]
Nonce = Annotated[
    int,
    _by(_text(_check_nonce)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(0x[0-9a-fA-F]{1,64}|[0-9]{1,77})$",
            "description": "Unsigned 256-bit integer as decimal or 0x text; each is used once per signer.",
        }
    ),
]
