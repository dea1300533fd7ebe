"""Reading XML strictly and writing it plainly.

A document is UTF-8 and has no DOCTYPE, so there are no entities to expand and nothing to fetch. Whoever reads asks for
the elements that must be there; what is missing, doubled or malformed is a DocumentInvalid that names the element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from lxml import etree

from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.model import MAX_BYTES, check_text
from fenzhang.domain.errors import FenzhangError

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
"""Of every message, before its name."""
_WHITE_SPACE: Final = " \t\r\n"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Node:
    """An element that is being read, and where it stands."""

    element: etree._Element
    path: str

    def child(self, name: str) -> Node:
        """The one child of this name; `A/B` is a child of a child."""
        node = self
        for step in name.split("/"):
            found = node.optional(step)
            if found is None:
                raise DocumentInvalid(f"{node.path}/{step}", "is missing")
            node = found
        return node

    def optional(self, name: str) -> Node | None:
        """The child of this name, None if there is none; `A/B` as in `child`."""
        node = self
        for step in name.split("/"):
            found = list(node.element.iterchildren(node._tag(step)))
            if not found:
                return None
            if len(found) > 1:
                raise DocumentInvalid(f"{node.path}/{step}", "stands more than once")
            node = Node(found[0], f"{node.path}/{step}")
        return node

    def children(self, name: str) -> list[Node]:
        """All children of this name, in order; their paths are numbered from 1."""
        found = self.element.iterchildren(self._tag(name))
        return [Node(element, f"{self.path}/{name}[{number}]") for number, element in enumerate(found, 1)]

    def text(self, longest: int = 35) -> str:
        """What stands in it: 1 to `longest` characters, white space around them left out, and no elements."""
        if len(self.element):
            raise DocumentInvalid(self.path, "holds elements instead of text")
        return self.checked(check_text, "text", (self.element.text or "").strip(_WHITE_SPACE), longest)

    def one_of(self, values: Collection[str]) -> str:
        """What stands in it, one of `values`."""
        text = self.text()
        if text not in values:
            raise DocumentInvalid(self.path, f"is not one of {', '.join(values)}")
        return text

    def attribute(self, name: str) -> str:
        """An attribute that must be there."""
        value = self.element.get(name)
        if not value:
            raise DocumentInvalid(f"{self.path}/@{name}", "is missing")
        return value

    def day(self) -> date:
        """A calendar day: ISODate."""
        text = self.text()
        if not _DATE.fullmatch(text):
            raise DocumentInvalid(self.path, "is not a date")
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise DocumentInvalid(self.path, "is not a date") from None

    def moment(self) -> datetime:
        """A point in time in UTC, whole seconds: ISODateTime, taken for UTC when it names no zone."""
        text = self.text()
        if not _MOMENT.fullmatch(text):
            raise DocumentInvalid(self.path, "is not a point in time")
        try:
            read = datetime.fromisoformat(text)
            read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        except (ValueError, OverflowError):
            raise DocumentInvalid(self.path, "is not a point in time") from None
        return read.replace(microsecond=0)

    def chosen_day(self) -> date:
        """The day of a DateAndDateTime choice: `Dt`, or `DtTm` as it is written."""
        chosen = self.optional("Dt")
        if chosen is not None:
            return chosen.day()
        moment = self.child("DtTm")
        moment.moment()
        return date.fromisoformat(moment.text()[:10])

    def number(self) -> int:
        """A count."""
        text = self.text(15)
        if not re.fullmatch("[0-9]{1,15}", text):
            raise DocumentInvalid(self.path, "is not a whole number")
        return int(text)

    def checked(self, make: Callable[..., _Value], *values: object, **named: object) -> _Value:
        """`make(...)`, with what it refuses told as a fault of this element."""
        try:
            return make(*values, **named)
        except DocumentInvalid:
            raise
        except FenzhangError as error:
            raise DocumentInvalid(self.path, error.message) from None

    def _tag(self, name: str) -> str:
        return f"{{{etree.QName(self.element).namespace}}}{name}"


def read(document: bytes, messages: Collection[str]) -> tuple[str, Node]:
    """The message's name, one of `messages`, and its root. Raises DocumentInvalid."""
    if len(document) > MAX_BYTES:
        raise DocumentInvalid("/", f"is larger than {MAX_BYTES} bytes")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise DocumentInvalid("/", "is not UTF-8") from None
    if "<!DOCTYPE" in text:
        raise DocumentInvalid("/", "has a DOCTYPE")
    # The encoding is not the document's to choose: in another one a DOCTYPE would look different.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, etree.XMLSyntaxError) else 0
        raise DocumentInvalid("/", f"is not well-formed XML (line {line})") from None
    name = etree.QName(root)
    message = (name.namespace or "").removeprefix(NAMESPACE)
    if name.localname != "Document" or message not in messages or name.namespace == message:
        raise DocumentInvalid("/", f"is not a Document of {', '.join(messages)}")
    return message, Node(root, "/Document")


def document(message: str) -> etree._Element:
    """An empty message to write into."""
    namespace = NAMESPACE + message
    # lxml takes None for the default namespace; its stubs do not know.
    return etree.Element(f"{{{namespace}}}Document", nsmap={None: namespace})  # type: ignore[dict-item]


def add(parent: etree._Element, path: str, text: str | None = None, **attributes: str) -> etree._Element:
    """Append new elements, `A/B` one within the other, the last with text and attributes; returns the last."""
    namespace = etree.QName(parent).namespace
    for step in path.split("/"):
        parent = etree.SubElement(parent, f"{{{namespace}}}{step}")
    parent.text = text
    for name, value in attributes.items():
        parent.set(name, value)
    return parent


def written(root: etree._Element) -> bytes:
    """The document as bytes."""
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def moment_text(moment: datetime) -> str:
    """A moment in UTC as ISODateTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
