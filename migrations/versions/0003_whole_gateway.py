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
ALTER TABLE marketplace.service ADD COLUMN held BOOLEAN DEFAULT false NOT NULL
""",
    """
CREATE INDEX ix_service_changed_xid ON marketplace.service (changed_xid)
""",
]

ACCESS: list[str] = [
    """
ALTER TABLE marketplace.client ADD COLUMN environment TEXT DEFAULT 'live' NOT NULL
""",
    """
ALTER TABLE marketplace.client ADD COLUMN certificates JSONB
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

HEALTH: list[str] = [
    """
CREATE TABLE gateway.endpoint_health (
    service TEXT NOT NULL,
    major SMALLINT NOT NULL,
    sandbox BOOLEAN NOT NULL,
    url TEXT NOT NULL,
    process TEXT NOT NULL,
    number SMALLINT NOT NULL,
    provider TEXT NOT NULL,
    state TEXT NOT NULL,
    well BOOLEAN NOT NULL,
    calls BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    failure TEXT,
    failed_at TIMESTAMP WITH TIME ZONE,
    spread JSONB NOT NULL,
    written_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_endpoint_health PRIMARY KEY (service, major, sandbox, url, process)
)
""",
    """
CREATE TABLE gateway.endpoint_outage (
    service TEXT NOT NULL,
    major SMALLINT NOT NULL,
    sandbox BOOLEAN NOT NULL,
    url TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_endpoint_outage PRIMARY KEY (service, major, sandbox, url)
)
""",
]

TOPICS: list[str] = [
    """
CREATE TABLE gateway.topic_subscription (
    subscription_id TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    party TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    delivery TEXT NOT NULL,
    url TEXT,
    types JSONB NOT NULL,
    keys JSONB NOT NULL,
    xid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    single_xid BIGINT NOT NULL,
    single_position BIGINT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    paused TEXT,
    attempts INTEGER NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    delivered_at TIMESTAMP WITH TIME ZONE,
    holder TEXT NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_topic_subscription PRIMARY KEY (subscription_id)
)
""",
    """
CREATE UNIQUE INDEX uq_topic_subscription_party_topic_name ON gateway.topic_subscription (party, topic, name)
""",
    """
CREATE TABLE gateway.topic_dead_letter (
    subscription_id TEXT COLLATE "C" NOT NULL,
    xid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    status INTEGER,
    says TEXT NOT NULL,
    buried_at TIMESTAMP WITH TIME ZONE NOT NULL,
    replays INTEGER NOT NULL,
    replay_asked_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_topic_dead_letter PRIMARY KEY (subscription_id, xid, position),
    CONSTRAINT fk_topic_dead_letter_subscription_id_topic_subscription FOREIGN KEY(subscription_id) REFERENCES gateway.topic_subscription (subscription_id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE gateway.topic_held (
    subscription_id TEXT COLLATE "C" NOT NULL,
    xid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    key TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_topic_held PRIMARY KEY (subscription_id, xid, position),
    CONSTRAINT fk_topic_held_subscription_id_topic_subscription FOREIGN KEY(subscription_id) REFERENCES gateway.topic_subscription (subscription_id) ON DELETE CASCADE
)
""",
    """
CREATE INDEX ix_event_of_evses ON kit.event (type, xid, position) WHERE type IN ('evse-status-changed', 'evse-changed')
""",
    """
CREATE INDEX ix_event_of_party ON kit.event (party, xid, position)
""",
    """
CREATE INDEX ix_event_of_topic ON kit.event (split_part(stream, ':', 2), xid, position) WHERE type = 'topic-event-published'
""",
]


def upgrade() -> None:
    for statement in (*SERVICES, *ACCESS, *QUOTAS, *USAGE, *HEALTH, *TOPICS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise RuntimeError("a log is not taken back; restore a backup of before instead")
