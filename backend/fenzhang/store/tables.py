"""The tables of the database, but for those of cycles (`clearingtables`) and of what banks are sent (`banktables`).

Ids are the on-chain bytes, amounts minor units, times Unix seconds (UTC).

Rows of intake and submission say what was asked and sent. Rows of the mirror (`blocks`, `records`,
`allocations`, `orders`, and the ledger's `postings`) exist only because an event was read from the chain.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.sqlite import INTEGER as SQLITE_INTEGER
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fenzhang.domain.rules import NO_TERMS
from fenzhang.store.partial import partial_index
from fenzhang.store.payloads import terms_to_json

Serial = BigInteger().with_variant(SQLITE_INTEGER(), "sqlite")
"""64-bit key that SQLite also numbers by itself."""


class Base(DeclarativeBase):
    """Common metadata; constraint names are fixed so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, bytes: LargeBinary, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 -- SQLAlchemy's declared form


class InstructionType(StrEnum):
    """What is written. SplitLedger settles the first five, the others change who takes part.

    The last three are clearing's own.
    """

    CAPTURE = "CAPTURE"
    SPLIT = "SPLIT"
    RELEASE = "RELEASE"
    RETURN = "RETURN"
    REFUND = "REFUND"
    ENROLL = "ENROLL"
    SUSPEND = "SUSPEND"
    RESUME = "RESUME"
    PLACE = "PLACE"
    PROPOSE = "PROPOSE"
    APPROVE = "APPROVE"
    RETIRE = "RETIRE"
    VETO = "VETO"
    FREEZE = "FREEZE"
    UNFREEZE = "UNFREEZE"
    CONSENT = "CONSENT"
    CAP = "CAP"
    CONDITION = "CONDITION"
    CONFIRMATION = "CONFIRMATION"
    CLOSE = "CLOSE"
    HEIR = "HEIR"
    RESOLVE = "RESOLVE"
    CLOSE_CYCLE = "CLOSE_CYCLE"
    TAKE = "TAKE"
    REPORT = "REPORT"


CLEARING_TYPES = (InstructionType.CLOSE_CYCLE, InstructionType.TAKE, InstructionType.REPORT)
"""What clearing asks for itself; no client can write them. They belong to no platform: its id is 32 zero bytes."""

SETTLEMENT_TYPES = (
    InstructionType.CAPTURE,
    InstructionType.SPLIT,
    InstructionType.RELEASE,
    InstructionType.RETURN,
    InstructionType.REFUND,
)


class InstructionState(StrEnum):
    """Where an instruction stands. SETTLED and REJECTED are terminal unless the chain itself reorganises."""

    ACCEPTED = "ACCEPTED"
    """Durably stored; not in a live transaction."""
    SUBMITTED = "SUBMITTED"
    """In a stored, signed transaction."""
    SETTLED = "SETTLED"
    """The mirror read its event."""
    REJECTED = "REJECTED"
    """The chain refused it; `reason` says why."""


TERMINAL_STATES = (InstructionState.SETTLED, InstructionState.REJECTED)


class TransactionState(StrEnum):
    """Life of a signed transaction."""

    SIGNED = "SIGNED"
    """Stored, not known to have reached a node."""
    SENT = "SENT"
    """A node took it (or already had it)."""
    MINED = "MINED"
    """In a block, successful; the mirror decides what it did."""
    REVERTED = "REVERTED"
    """In a block, without effect."""


class FileState(StrEnum):
    """Where a file of instructions stands."""

    RECEIVING = "RECEIVING"
    """Its bytes are arriving; nobody was promised anything."""
    RECEIVED = "RECEIVED"
    """Durably stored, no row looked at yet."""
    PROCESSING = "PROCESSING"
    """Some of its rows are decided."""
    DONE = "DONE"
    """Each row is accepted, known or rejected. Terminal."""


class AccountKind(StrEnum):
    """Chart of accounts, per currency."""

    BANK_CUSTODY = "bank_custody"
    """Asset: captured money that the bank holds."""
    ORDER_HELD = "order_held"
    """Liability: captured and not yet split or released."""
    RECIPIENT_PAYABLE = "recipient_payable"
    """Liability, one per participant: its position."""
    BUYER_REFUND_PAYABLE = "buyer_refund_payable"
    """Liability: owed back to buyers."""
    IN_TRANSIT = "in_transit"
    """Liability: payouts that were taken from positions, until the bank says what became of them."""


class App(Base):
    """An API client. It sees only what belongs to its platform."""

    __tablename__ = "apps"
    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    secret_hash: Mapped[bytes]
    """SHA-256 of the secret, which is random and long, so that no slow hash is needed."""
    scopes: Mapped[str] = mapped_column(String(255))
    """Space separated, as in OAuth2."""
    platform_id: Mapped[bytes | None] = mapped_column(index=True)
    created_at: Mapped[int]


class KeystoreKey(Base):
    """A signing key, encrypted (Web3 secret storage JSON); the password is not in the database."""

    __tablename__ = "keystore_keys"
    address: Mapped[bytes] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(100), unique=True)
    """`attestor`, `approver`, `guardian`, `registrar`, `submitter`, `submitter:1` …, or `platform:<hex id>`."""
    keyfile: Mapped[dict[str, Any]]
    created_at: Mapped[int]


class NonceWord(Base):
    """The word of nonces that a keystore signer uses up: random 248 bits, then each of 256 bits in turn.

    Each sender of transactions has a word of its own, so that several never wait for each other.
    """

    __tablename__ = "nonce_words"
    signer: Mapped[bytes] = mapped_column(primary_key=True)
    sender: Mapped[bytes] = mapped_column(primary_key=True)
    word: Mapped[bytes]
    next_bit: Mapped[int]


class Participant(Base):
    """An enrolled party as the platform `platform_id` knows it. A platform is its own owner."""

    __tablename__ = "participants"
    __table_args__ = (UniqueConstraint("platform_id", "reference"),)
    id: Mapped[bytes] = mapped_column(primary_key=True)
    platform_id: Mapped[bytes]
    reference: Mapped[str] = mapped_column(String(64))
    authority: Mapped[bytes | None]
    status: Mapped[int] = mapped_column(default=0)
    """domain.records.ParticipantStatus, as the mirror read it."""
    parent_id: Mapped[bytes | None]
    """Who stands directly above, as the mirror read it; NULL for nobody."""
    level: Mapped[int] = mapped_column(default=1, server_default="1")
    """From the top, 1 to domain.places.MAX_LEVEL."""
    consents: Mapped[bool] = mapped_column(default=True)
    """Whether it agrees to receive from its platform, as the mirror read it; enrolment says that it does."""
    max_share_out: Mapped[int] = mapped_column(default=0)
    """Cap of a platform in basis points as the mirror read it, 0 for none."""


class RuleVersion(Base):
    """A proposed version of a rule, or of the platform's schedule.

    `proposed`, `approved`, `vetoed` and `retired` are as the mirror read them.
    """

    __tablename__ = "rule_versions"
    __table_args__ = (UniqueConstraint("platform_id", "reference", "version"),)
    platform_id: Mapped[bytes] = mapped_column(primary_key=True)
    rule_id: Mapped[bytes] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(String(64))
    """Of a schedule SCHEDULE_REFERENCE."""
    legs: Mapped[list[Any]]
    """One object per leg: parent, kind (name), value, min, max, recipient (0x hex or null), role or null."""
    entries: Mapped[list[Any] | None] = mapped_column(JSON)
    """Of a schedule, in place of legs: one object per entry, as store.payloads writes it."""
    terms: Mapped[dict[str, Any]] = mapped_column(default=lambda: terms_to_json(NO_TERMS))
    """An object with max_share_out (basis points) and may_owe."""
    effective_from: Mapped[int]
    content_hash: Mapped[bytes]
    proposed: Mapped[bool] = mapped_column(default=False)
    approved: Mapped[bool] = mapped_column(default=False)
    retired: Mapped[bool] = mapped_column(default=False)
    vetoed: Mapped[bool] = mapped_column(default=False)
    veto: Mapped[dict[str, Any] | None]
    """Of a vetoed version: `guardian` (0x address), `reason_code` and `block_number`."""


SCHEDULE_REFERENCE = "(schedule)"
"""What stands for the name of a rule where a platform's schedule is meant. No client can name a rule so."""


class ChainSetting(Base):
    """A setting of the contracts as the mirror read it; one that never changed has no row."""

    __tablename__ = "chain_settings"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    """`approval_lock`: seconds."""
    value: Mapped[int]


class Authorization(Base):
    """What is signed once and takes effect once. An instruction belongs to one authorization for ever."""

    __tablename__ = "authorizations"
    __table_args__ = (UniqueConstraint("signer", "nonce"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    signer: Mapped[bytes]
    """Platform id, or the attestor's address left-padded to 32 bytes."""
    is_attestation: Mapped[bool]
    nonce: Mapped[bytes]
    """32 bytes, big endian."""
    deadline: Mapped[int]
    digest: Mapped[bytes] = mapped_column(unique=True)
    signature: Mapped[bytes]
    transaction_id: Mapped[int | None] = mapped_column(ForeignKey("transactions.id"), index=True)
    """The transaction that carries it now."""


class Instruction(Base):
    """One write of a client, kept for ever under the client's own reference."""

    __tablename__ = "instructions"
    __table_args__ = (
        UniqueConstraint("platform_id", "type", "reference"),
        partial_index("ix_instructions_open", "seq", where="state = 'ACCEPTED'"),
        Index("ix_instructions_order_id_seq", "order_id", "seq"),
        *(
            partial_index(f"ix_instructions_{column}", column, where=f"{column} IS NOT NULL")
            for column in ("authorization_id", "transaction_id")
        ),
    )
    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    """Order of acceptance; an order's instructions are submitted in this order."""
    id: Mapped[bytes] = mapped_column(index=True)
    """On-chain id: domain.identifiers of platform and reference (a capture: the order id)."""
    type: Mapped[str] = mapped_column(String(16))
    platform_id: Mapped[bytes]
    app_id: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(64))
    order_id: Mapped[bytes | None]
    content: Mapped[dict[str, Any]]
    """What the client asked, in its own names, normalised."""
    content_hash: Mapped[bytes]
    payload: Mapped[dict[str, Any]]
    """What goes on chain, as store.payloads writes and reads it."""
    state: Mapped[str] = mapped_column(String(16), default=InstructionState.ACCEPTED)
    reason: Mapped[dict[str, Any] | None]
    """When REJECTED: code, message, values."""
    authorization_id: Mapped[int | None] = mapped_column(ForeignKey("authorizations.id"))
    position: Mapped[int | None]
    """Place in its authorization."""
    transaction_id: Mapped[int | None] = mapped_column(ForeignKey("transactions.id"))
    accepted_at: Mapped[int]
    block_number: Mapped[int | None]
    """Block of the event that made it terminal."""
    tx_hash: Mapped[bytes | None]
    request_id: Mapped[str | None] = mapped_column(String(64))
    """Of the request that brought it, to follow it through the logs."""


class Rejection(Base):
    """A rejection of an instruction. It stays when the instruction settles after all; a bill of the day tells of it.

    The chain's own word on it is a record where one of that block and log index exists. A refused authorization has an
    event and no record, a reverted transaction not even an event.
    """

    __tablename__ = "rejections"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    instruction_seq: Mapped[int] = mapped_column(ForeignKey("instructions.seq"), index=True)
    time: Mapped[int] = mapped_column(index=True)
    """Of the event's block; for a reverted transaction, of the newest mirrored block when that was found."""
    block_number: Mapped[int | None] = mapped_column(index=True)
    """Of the event, or of the reverted transaction. None for one that never was in a block."""
    log_index: Mapped[int | None]
    """Of the event, if there is one."""
    tx_hash: Mapped[bytes]
    reason: Mapped[dict[str, Any]]


class File(Base):
    """A file of instructions that a platform uploaded, and how far it is processed."""

    __tablename__ = "files"
    __table_args__ = (UniqueConstraint("platform_id", "reference"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    platform_id: Mapped[bytes]
    app_id: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    """Of the upload; its instructions have the same."""
    reference: Mapped[str | None] = mapped_column(String(64))
    """The client's own; None while RECEIVING, so that an upload that breaks off keeps no reference."""
    format: Mapped[str] = mapped_column(String(8))
    """`csv` or `jsonl`."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    columns: Mapped[list[Any]]
    """Names in a CSV file's header; empty for JSON Lines."""
    sha256: Mapped[bytes]
    """Of all bytes; empty while RECEIVING."""
    size: Mapped[int]
    """Bytes that arrived."""
    lines: Mapped[int]
    """Lines that arrived, the header and blank ones included."""
    position: Mapped[int]
    """Bytes that are processed: the next record begins here."""
    line: Mapped[int]
    """Lines that are processed."""
    accepted: Mapped[int]
    known: Mapped[int]
    rejected: Mapped[int]
    received_at: Mapped[int]
    """When it was durable; while RECEIVING, when its newest bytes came."""
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None]


class FilePart(Base):
    """A piece of a file's bytes, kept until its rows are processed."""

    __tablename__ = "file_parts"
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id"), primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes]


class FileRejection(Base):
    """A row of a file that was not accepted, and why."""

    __tablename__ = "file_rejections"
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    """The row's first line, counted from 1."""
    code: Mapped[str] = mapped_column(String(64))
    field: Mapped[str] = mapped_column(String(128))
    """Empty where no field alone is the reason."""
    message: Mapped[str] = mapped_column(String(1000))
    row: Mapped[bytes]
    """As it came, without its line end."""


class Transaction(Base):
    """A signed transaction, stored before it is broadcast and never signed differently for the same nonce."""

    __tablename__ = "transactions"
    __table_args__ = (UniqueConstraint("sender", "nonce"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    sender: Mapped[bytes]
    nonce: Mapped[int]
    hash: Mapped[bytes] = mapped_column(unique=True)
    raw: Mapped[bytes]
    gas_limit: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default=TransactionState.SIGNED, index=True)
    created_at: Mapped[int]
    block_number: Mapped[int | None]
    gas_used: Mapped[int | None]


class Lease(Base):
    """Who may act for a signing key (or as the mirror) now. `fence` grows with every new holder."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    fence: Mapped[int]
    expires_at: Mapped[float]


class Completion(Base):
    """The feed of state changes. Ids are given out under a row lock, so they commit in order."""

    __tablename__ = "completions"
    __table_args__ = (Index("ix_completions_platform_id_id", "platform_id", "id"),)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    platform_id: Mapped[bytes]
    instruction_seq: Mapped[int] = mapped_column(ForeignKey("instructions.seq"))
    state: Mapped[str] = mapped_column(String(16))
    at: Mapped[int]


class Counter(Base):
    """A named counter that its transaction locks; `completions` numbers the feed."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int]


class ChainInfo(Base):
    """The one chain this database mirrors; a database is never used with another."""

    __tablename__ = "chain_info"
    chain_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ledger_address: Mapped[bytes]
    genesis_hash: Mapped[bytes]


class Block(Base):
    """A mirrored block. The highest one is the mirror's checkpoint; recent ones reveal a reorganisation."""

    __tablename__ = "blocks"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes]
    parent_hash: Mapped[bytes]
    timestamp: Mapped[int]


class Record(Base):
    """One record of the chain, in event order. After a reorganisation it stays, with `canonical` false."""

    __tablename__ = "records"
    __table_args__ = (
        Index("ix_records_order_id_id", "order_id", "id"),
        partial_index("ix_records_of_cycles", "cycle_id", where="cycle_id IS NOT NULL"),
        # Records of orders are found by their order: one more index on a hash costs a page of it for every record.
        partial_index("ix_records_of_no_order", "instruction_id", where="kind > 5"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    kind: Mapped[int]
    """domain.records.RecordKind."""
    instruction_id: Mapped[bytes]
    order_id: Mapped[bytes]
    split_id: Mapped[bytes | None]
    """Which split a RETURN takes back from."""
    cycle_id: Mapped[bytes | None]
    """Of the closing of a cycle, and of a payout's records: the cycle."""
    amount: Mapped[int]
    leaf: Mapped[bytes]
    batch: Mapped[int]
    leaf_index: Mapped[int]
    block_number: Mapped[int] = mapped_column(index=True)
    tx_hash: Mapped[bytes]
    log_index: Mapped[int]
    reason: Mapped[dict[str, Any] | None]
    canonical: Mapped[bool] = mapped_column(default=True)


OF_NO_ORDER = text("records.kind > 5")
"""Record kinds from RESOLUTION on. SQLite takes their index only for a query that says this in these words."""


class Allocation(Base):
    """One leaf of a SPLIT or RETURN record, or what a REFUND took from one (a RELEASE has one, for the merchant)."""

    __tablename__ = "allocations"
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id"), primary_key=True)
    leaf: Mapped[int] = mapped_column(primary_key=True)
    recipient: Mapped[bytes] = mapped_column(index=True)
    amount: Mapped[int]


class Order(Base):
    """A captured order as the chain knows it now; always recomputable from its canonical records."""

    __tablename__ = "orders"
    __table_args__ = (
        partial_index("ix_orders_expiring", "expires_at", where="expires_at > 0 AND held > 0"),
        partial_index("ix_orders_waiting", "condition_id", where="condition_id IS NOT NULL AND held > 0"),
        partial_index("ix_orders_condition", "condition_id", where="condition_id IS NOT NULL"),
    )
    order_id: Mapped[bytes] = mapped_column(primary_key=True)
    platform_id: Mapped[bytes] = mapped_column(index=True)
    merchant: Mapped[bytes]
    rule_id: Mapped[bytes]
    rule_version: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    bindings: Mapped[bytes]
    """32 bytes per role of the version."""
    captured: Mapped[int]
    held: Mapped[int]
    head: Mapped[bytes]
    """Hash chain over the settled records after the capture; the witness for the next instruction."""
    hold_until: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[int] = mapped_column(server_default="0")
    """0 for none, as is `hold_until`."""
    facts: Mapped[bytes | None]
    condition_id: Mapped[bytes | None]
    """None for none, as are `facts`."""


class Condition(Base):
    """A condition as the mirror read it. Whether it is open or missed, its deadline and the chain's time tell."""

    __tablename__ = "conditions"
    __table_args__ = (partial_index("ix_conditions_waiting", "deadline", where="NOT reached"),)
    condition_id: Mapped[bytes] = mapped_column(primary_key=True)
    platform_id: Mapped[bytes] = mapped_column(primary_key=True)
    needed: Mapped[int]
    deadline: Mapped[int]
    confirmer: Mapped[bytes | None]
    """None for one that only counts orders."""
    count: Mapped[int]
    """Orders captured in time."""
    confirmed: Mapped[bool]
    reached: Mapped[bool]
    block_number: Mapped[int]
    """Where it was opened."""


class Freeze(Base):
    """A freeze by a guardian, as the mirror read it, and how it ended: `ended_…` are None while it lasts."""

    __tablename__ = "freezes"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    target_id: Mapped[bytes] = mapped_column(index=True)
    """Of an order, a split or a participant."""
    order_id: Mapped[bytes | None]
    """Of the order that is frozen, or whose split is; None for a participant."""
    guardian: Mapped[bytes]
    reason: Mapped[str] = mapped_column(String(32))
    block_number: Mapped[int] = mapped_column(index=True)
    tx_hash: Mapped[bytes]
    ended_by: Mapped[bytes | None]
    ended_reason: Mapped[str | None] = mapped_column(String(32))
    ended_block: Mapped[int | None] = mapped_column(index=True)
    ended_tx_hash: Mapped[bytes | None]


class Expiry(Base):
    """The last try of this backend to end an order: one that expired, or whose condition was missed.

    A row stands for one try at a time.
    """

    __tablename__ = "expiries"
    order_id: Mapped[bytes] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(ForeignKey("transactions.id"), index=True)
    head: Mapped[bytes]
    """Of the order as it was tried."""
    tries: Mapped[int]
    """With this head."""
    not_before: Mapped[int]
    """Chain time (Unix seconds) of the next try with this head."""


class Account(Base):
    """An account of the clearing ledger."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("kind", "currency", "participant_id"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    participant_id: Mapped[bytes]
    """32 bytes; zero for accounts that belong to no participant."""


class Posting(Base):
    """A debit and a credit of the same amount, never changed. A correction is a new row that reverses it."""

    __tablename__ = "postings"
    # With all that a balance is made of, so that the postings themselves are not read for it.
    __table_args__ = (
        Index(
            "ix_postings_debit_account_id_block_number_amount", "debit_account_id", "block_number", "amount"
        ),
        Index(
            "ix_postings_credit_account_id_block_number_amount", "credit_account_id", "block_number", "amount"
        ),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    debit_account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    credit_account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int]
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id"), index=True)
    block_number: Mapped[int]
    reverses_id: Mapped[int | None] = mapped_column(ForeignKey("postings.id"), unique=True)


class JournalLink(Base):
    """A link of the hash chain over the postings (see domain.journal), written with them and never changed."""

    __tablename__ = "journal_links"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_posting: Mapped[int]
    """The postings behind the previous link's, up to this number."""
    block_number: Mapped[int]
    hash: Mapped[bytes]
