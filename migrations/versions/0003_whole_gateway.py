"""The gateway, whole: what each capability adds, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


SERVICES: list[str] = [
    """
CREATE TABLE marketplace.interface (
    digest BYTEA NOT NULL,
    kind TEXT NOT NULL,
    content BYTEA NOT NULL,
    uploaded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_interface PRIMARY KEY (digest)
)
""",
    """
ALTER TABLE marketplace.service ADD COLUMN more_endpoints JSONB DEFAULT '[]' NOT NULL
""",
    """
ALTER TABLE marketplace.service ADD COLUMN handling JSONB DEFAULT '{}' NOT NULL
""",
    """
ALTER TABLE marketplace.service ADD COLUMN interface_digest BYTEA
""",
    """
ALTER TABLE marketplace.service ADD COLUMN login BYTEA
""",
    """
ALTER TABLE marketplace.service ADD COLUMN changed_xid BIGINT DEFAULT pg_current_xact_id()::text::bigint NOT NULL
""",
    """
CREATE INDEX ix_service_changed_xid ON marketplace.service (changed_xid)
""",
]

ACCESS: list[str] = [
    """
ALTER TABLE marketplace.client ADD COLUMN environment TEXT DEFAULT 'live' NOT NULL
""",
]

QUOTAS: list[str] = [
    "ALTER TABLE gateway.quota ALTER COLUMN used TYPE BIGINT",
    "ALTER TABLE gateway.quota ALTER COLUMN granted TYPE BIGINT",
    """
CREATE TABLE gateway.pack_balance (
    contract_id TEXT NOT NULL,
    bought BIGINT NOT NULL,
    used BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    CONSTRAINT pk_pack_balance PRIMARY KEY (contract_id)
)
""",
    """
CREATE TABLE gateway.pack_purchase (
    purchase_id TEXT NOT NULL,
    contract_id TEXT NOT NULL,
    packs INTEGER NOT NULL,
    calls BIGINT NOT NULL,
    price_minor BIGINT NOT NULL,
    currency TEXT,
    bought_at TIMESTAMP WITH TIME ZONE NOT NULL,
    key TEXT,
    CONSTRAINT pk_pack_purchase PRIMARY KEY (purchase_id),
    CONSTRAINT uq_pack_purchase_contract_id_key UNIQUE (contract_id, key)
)
""",
    """
CREATE INDEX ix_pack_purchase_contract_id ON gateway.pack_purchase (contract_id, purchase_id)
""",
]

USAGE: list[str] = [
    """
ALTER TABLE gateway.usage ADD COLUMN sandbox BOOLEAN DEFAULT false NOT NULL
""",
]

TOPICS: list[str] = []


def upgrade() -> None:
    for statement in (*SERVICES, *ACCESS, *QUOTAS, *USAGE, *TOPICS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise RuntimeError("a log is not taken back; restore a backup of before instead")
