"""The official schemas of ISO 20022, from two packages that carry them. Nothing of these packages is imported."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from typing import Final

from lxml import etree

_FILES: Final = {
    "pain.001.001.09": ("pain001", "pain001/templates/pain.001.001.09/pain.001.001.09.xsd"),
    "pain.002.001.12": ("pain001", "pain001/pain002/schemas/pain.002.001.12.xsd"),
    "camt.053.001.08": ("camt053", "camt053/xsd/camt.053.001.08.xsd"),
    "camt.054.001.08": ("camt053", "camt053/xsd/camt.054.001.08.xsd"),
}


@cache
def schema(message: str) -> etree.XMLSchema:
    """The schema of a message."""
    package, file = _FILES[message]
    return etree.XMLSchema(etree.parse(str(distribution(package).locate_file(file))))


def check_schema(message: str, content: bytes) -> None:
    """Fails unless the document is valid."""
    schema(message).assertValid(etree.fromstring(content))
