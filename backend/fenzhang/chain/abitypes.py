"""ABI entries and eth-abi: type strings of parameters, and values in the forms this project uses."""

from __future__ import annotations

from typing import Any


def canonical_type(parameter: dict[str, Any]) -> str:
    """The type of an ABI parameter as it stands in a signature; tuples as their components."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(canonical_type(component) for component in parameter["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def plain_value(parameter: dict[str, Any], value: Any) -> Any:
    """A value decoded by eth-abi with addresses as 20 bytes; arrays and tuples as tuples."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        element = {**parameter, "type": kind[: kind.rindex("[")]}
        return tuple(plain_value(element, item) for item in value)
    if kind == "tuple":
        components = parameter["components"]
        return tuple(plain_value(item, part) for item, part in zip(components, value, strict=True))
    if kind == "address":
        return bytes.fromhex(value.removeprefix("0x"))
    return value
