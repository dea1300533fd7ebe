"""Which bill is asked for, by the names that platforms use. The API and `fenzhang bill` ask in the same way."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.errors import InvalidBill
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, Subject
from fenzhang.clearing.bills.making import Bill
from fenzhang.domain.days import Day
from fenzhang.intake.participants import participant_named
from fenzhang.settings import Settings
from fenzhang.store.tables import Participant


async def bill_named(
    session: AsyncSession,
    settings: Settings,
    platform: Participant,
    day: str,
    form: BillFormat,
    *,
    participant: str | None = None,
    merchant: str | None = None,
) -> Bill:
    """The bill of `platform`, or of one of its participants. Raises InvalidBill, InvalidDay, UnknownParticipant."""
    when = Day.of(day, settings.zone_of(platform.reference))
    if participant is not None and merchant is not None:
        raise InvalidBill("merchant", "give either participant or merchant")
    name = participant or merchant
    if name is None:
        return Bill(Subject(BillKind.PLATFORM, platform.id, platform.reference), when, form)
    kind = BillKind.MERCHANT if participant is None else BillKind.PARTICIPANT
    whose = await participant_named(session, platform.id, name)
    subject = Subject(kind, platform.id, platform.reference, whose.id, whose.reference)
    return Bill(subject, when, form)
