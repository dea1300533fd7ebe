"""The client library: what a platform installs to send orders and instructions.

They are signed here, or by a key in the backend's keystore.

async with AsyncClient("http://127.0.0.1:8700", Credentials("app_…", "…")) as client:
    await client.create_order(NewOrder(out_order_no="A-1", …))
    await client.split(NewSplit(out_split_no="A-1-S1", out_order_no="A-1", amount=9900))
    split = await client.wait_for(InstructionType.SPLIT, "A-1-S1")

`Client` has the same methods without `await`. A write may be repeated at any time: the same reference with the same
content gives the same answer, and both clients repeat by themselves what got no answer.
"""

from fenzhang.client.changes import RuleDiff, WhatIf
from fenzhang.client.clients import AsyncClient, Client
from fenzhang.client.cycles import BankAccountView, CycleView, PayoutView
from fenzhang.client.errors import (
    ApiError,
    ApiUnreachable,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFailed,
    Unauthenticated,
    UnexpectedAnswer,
    WaitTimeout,
    WrongNetwork,
)
from fenzhang.client.files import FileState, FileView
from fenzhang.client.ledger import (
    Debt,
    DebtPage,
    DebtTotal,
    JournalHead,
    Position,
    Side,
    StatementLine,
    StatementView,
    TrialBalance,
)
from fenzhang.client.levels import Level, Levels, Rung
from fenzhang.client.models import (
    Completion,
    ConditionView,
    FreezeView,
    FrozenThing,
    Instruction,
    InstructionType,
    NewCondition,
    NewFreeze,
    NewInstruction,
    NewOrder,
    NewRefund,
    NewRelease,
    NewReturn,
    NewRule,
    NewSplit,
    OrderView,
    ParticipantView,
    QuoteView,
    Refused,
    RuleView,
    Selection,
    State,
)
from fenzhang.client.schedules import NewEntry, NewSchedule, ScheduleVersion, ScheduleView
from fenzhang.client.session import Credentials, RetryPolicy
from fenzhang.client.signing import PlatformKey

__all__ = [
    "ApiError",
    "ApiUnreachable",
    "AsyncClient",
    "BankAccountView",
    "Client",
    "Completion",
    "ConditionView",
    "Conflict",
    "Credentials",
    "CycleView",
    "Debt",
    "DebtPage",
    "DebtTotal",
    "FileState",
    "FileView",
    "Forbidden",
    "FreezeView",
    "FrozenThing",
    "Instruction",
    "InstructionType",
    "InvalidRequest",
    "JournalHead",
    "Level",
    "Levels",
    "NewCondition",
    "NewEntry",
    "NewFreeze",
    "NewInstruction",
    "NewOrder",
    "NewRefund",
    "NewRelease",
    "NewReturn",
    "NewRule",
    "NewSchedule",
    "NewSplit",
    "NotFound",
    "OrderView",
    "ParticipantView",
    "PayoutView",
    "PlatformKey",
    "Position",
    "QuoteView",
    "Refused",
    "RetryPolicy",
    "RuleDiff",
    "RuleView",
    "Rung",
    "ScheduleVersion",
    "ScheduleView",
    "Selection",
    "ServerFailed",
    "Side",
    "State",
    "StatementLine",
    "StatementView",
    "TrialBalance",
    "Unauthenticated",
    "UnexpectedAnswer",
    "WaitTimeout",
    "WhatIf",
    "WrongNetwork",
]
