"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    _create_clients()
    _create_submission()
    _create_instructions()
    _create_coordination()
    _create_mirror()
    _create_ledger()


def _create_clients() -> None:
    """Apps, keys, participants, rules."""
    op.create_table(
        "apps",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.String(length=255), nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_apps"),
        sa.UniqueConstraint("name", name="uq_apps_name"),
    )
    op.create_index("ix_apps_platform_id", "apps", ["platform_id"])
    op.create_table(
        "keystore_keys",
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("keyfile", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_keystore_keys"),
        sa.UniqueConstraint("label", name="uq_keystore_keys_label"),
    )
    op.create_table(
        "nonce_words",
        sa.Column("signer", sa.LargeBinary(), nullable=False),
        sa.Column("word", sa.LargeBinary(), nullable=False),
        sa.Column("next_bit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("signer", name="pk_nonce_words"),
    )
    op.create_table(
        "participants",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("authority", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_participants"),
        sa.UniqueConstraint("platform_id", "reference", name="uq_participants_platform_id_reference"),
    )
    op.create_table(
        "rule_versions",
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("rule_id", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("legs", sa.JSON(), nullable=False),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("proposed", sa.Boolean(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("platform_id", "rule_id", "version", name="pk_rule_versions"),
        sa.UniqueConstraint(
            "platform_id", "reference", "version", name="uq_rule_versions_platform_id_reference_version"
        ),
    )


def _create_submission() -> None:
    """What is signed and sent."""
    op.create_table(
        "transactions",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("sender", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("gas_limit", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
        sa.UniqueConstraint("hash", name="uq_transactions_hash"),
        sa.UniqueConstraint("sender", "nonce", name="uq_transactions_sender_nonce"),
    )
    op.create_index("ix_transactions_state", "transactions", ["state"])
    op.create_table(
        "authorizations",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("signer", sa.LargeBinary(), nullable=False),
        sa.Column("is_attestation", sa.Boolean(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("transaction_id", _SERIAL, nullable=True),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name="fk_authorizations_transaction_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_authorizations"),
        sa.UniqueConstraint("digest", name="uq_authorizations_digest"),
        sa.UniqueConstraint("signer", "nonce", name="uq_authorizations_signer_nonce"),
    )
    op.create_index("ix_authorizations_transaction_id", "authorizations", ["transaction_id"])


def _create_instructions() -> None:
    """What clients write, and the feed of what becomes of it."""
    op.create_table(
        "instructions",
        sa.Column("seq", _SERIAL, nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.LargeBinary(), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=True),
        sa.Column("authorization_id", _SERIAL, nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("transaction_id", _SERIAL, nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("tx_hash", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["authorization_id"], ["authorizations.id"], name="fk_instructions_authorization_id"
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name="fk_instructions_transaction_id"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_instructions"),
        sa.UniqueConstraint(
            "platform_id", "type", "reference", name="uq_instructions_platform_id_type_reference"
        ),
    )
    op.create_index("ix_instructions_authorization_id", "instructions", ["authorization_id"])
    op.create_index("ix_instructions_id", "instructions", ["id"])
    op.create_index(
        "ix_instructions_open",
        "instructions",
        ["seq"],
        sqlite_where=sa.text("state = 'ACCEPTED'"),
        postgresql_where=sa.text("state = 'ACCEPTED'"),
    )
    op.create_index("ix_instructions_order_id_seq", "instructions", ["order_id", "seq"])
    op.create_index("ix_instructions_transaction_id", "instructions", ["transaction_id"])
    op.create_table(
        "completions",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("instruction_seq", _SERIAL, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instruction_seq"], ["instructions.seq"], name="fk_completions_instruction_seq"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_completions"),
    )
    op.create_index("ix_completions_platform_id_id", "completions", ["platform_id", "id"])


def _create_coordination() -> None:
    """What processes share."""
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def _create_mirror() -> None:
    """What was read from the chain."""
    op.create_table(
        "chain_info",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ledger_address", sa.LargeBinary(), nullable=False),
        sa.Column("genesis_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", name="pk_chain_info"),
    )
    op.create_table(
        "blocks",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_blocks"),
    )
    op.create_table(
        "records",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("kind", sa.BigInteger(), nullable=False),
        sa.Column("instruction_id", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.LargeBinary(), nullable=False),
        sa.Column("split_id", sa.LargeBinary(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=True),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
    )
    op.create_index("ix_records_block_number", "records", ["block_number"])
    op.create_index("ix_records_instruction_id", "records", ["instruction_id"])
    op.create_index("ix_records_order_id_id", "records", ["order_id", "id"])
    op.create_table(
        "allocations",
        sa.Column("record_id", _SERIAL, nullable=False),
        sa.Column("leaf", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.LargeBinary(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_allocations_record_id"),
        sa.PrimaryKeyConstraint("record_id", "leaf", name="pk_allocations"),
    )
    op.create_index("ix_allocations_recipient", "allocations", ["recipient"])
    op.create_table(
        "orders",
        sa.Column("order_id", sa.LargeBinary(), nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("merchant", sa.LargeBinary(), nullable=False),
        sa.Column("rule_id", sa.LargeBinary(), nullable=False),
        sa.Column("rule_version", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("bindings", sa.LargeBinary(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
    )
    op.create_index("ix_orders_platform_id", "orders", ["platform_id"])


def _create_ledger() -> None:
    """The clearing ledger."""
    op.create_table(
        "accounts",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("participant_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint(
            "kind", "currency", "participant_id", name="uq_accounts_kind_currency_participant_id"
        ),
    )
    op.create_table(
        "postings",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("debit_account_id", _SERIAL, nullable=False),
        sa.Column("credit_account_id", _SERIAL, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("record_id", _SERIAL, nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("reverses_id", _SERIAL, nullable=True),
        sa.ForeignKeyConstraint(["credit_account_id"], ["accounts.id"], name="fk_postings_credit_account_id"),
        sa.ForeignKeyConstraint(["debit_account_id"], ["accounts.id"], name="fk_postings_debit_account_id"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_postings_record_id"),
        sa.ForeignKeyConstraint(["reverses_id"], ["postings.id"], name="fk_postings_reverses_id"),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
        sa.UniqueConstraint("reverses_id", name="uq_postings_reverses_id"),
    )
    op.create_index("ix_postings_credit_account_id", "postings", ["credit_account_id"])
    op.create_index("ix_postings_debit_account_id", "postings", ["debit_account_id"])
    op.create_index("ix_postings_record_id", "postings", ["record_id"])
