"""The clearing house, whole: what each capability adds to the ground, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


LEDGER: list[str] = []


PERIODS: list[str] = []


CDRS: list[str] = [
    "ALTER TABLE clearinghouse.cdr ADD COLUMN notices JSONB DEFAULT '[]'::jsonb NOT NULL",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN total_cost JSONB",
    """
CREATE INDEX ix_cdr_on_evse ON clearinghouse.cdr (evse_id, ended_at, started_at) WHERE state <> 'rejected'
""",
]


CUSTOMERS: list[str] = [
    "ALTER TABLE clearinghouse.customer_contract ADD COLUMN limits jsonb",
    "ALTER TABLE clearinghouse.customer_contract"
    " DROP CONSTRAINT ck_customer_contract_authorisation",
    "ALTER TABLE clearinghouse.customer_contract ADD CONSTRAINT ck_customer_contract_authorisation"
    " CHECK (authorisation IN ('list', 'ask', 'both'))",
]


OFFLINE_LISTS: list[str] = []


AUTHORISATION: list[str] = []


EXPOSURE: list[str] = []


FORWARDING: list[str] = [
    """
ALTER TABLE clearinghouse.forwarding
    ADD COLUMN run_xid BIGINT,
    ADD COLUMN acknowledged_xid BIGINT,
    ADD COLUMN acknowledged_position BIGINT,
    ADD COLUMN acknowledged_at TIMESTAMP WITH TIME ZONE
""",
    """
ALTER TABLE clearinghouse.delivery
    ADD COLUMN next_attempt_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN channel TEXT,
    ADD COLUMN host TEXT,
    ADD COLUMN body_sha256 BYTEA,
    ADD COLUMN answer_status INTEGER,
    ADD COLUMN answer_says TEXT,
    ADD COLUMN answer_sha256 BYTEA,
    ADD COLUMN receipt JSONB,
    ADD COLUMN log_xid BIGINT,
    ADD COLUMN log_position BIGINT
""",
    """
CREATE INDEX ix_delivery_arrived ON clearinghouse.delivery (evsp, up_to_xid, up_to_position) WHERE outcome = 'delivered' AND dead_letter IS NULL
""",
    """
CREATE INDEX ix_delivery_of_dead_letter ON clearinghouse.delivery (dead_letter) WHERE dead_letter IS NOT NULL
""",
    """
CREATE INDEX ix_delivery_of_evsp_in_log ON clearinghouse.delivery (evsp, log_xid, log_position) WHERE log_position IS NOT NULL
""",
    """
CREATE INDEX ix_delivery_in_log ON clearinghouse.delivery (log_xid, log_position) WHERE log_position IS NOT NULL
""",
    """
CREATE TABLE clearinghouse.delivery_preference (
    evsp TEXT COLLATE "C" NOT NULL,
    channel TEXT NOT NULL,
    cadence TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    at TEXT NOT NULL,
    weekday TEXT NOT NULL,
    day_of_month INTEGER NOT NULL,
    sftp JSONB,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_delivery_preference PRIMARY KEY (evsp)
)
""",
    """
CREATE TABLE clearinghouse.sftp_key (
    evsp TEXT COLLATE "C" NOT NULL,
    public_key TEXT NOT NULL,
    sealed_private_key BYTEA NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_sftp_key PRIMARY KEY (evsp)
)
""",
]


BUSINESS_DETAILS = [
    """
CREATE TABLE marketplace.business_details (
    details_id BIGINT GENERATED ALWAYS AS IDENTITY,
    party TEXT NOT NULL,
    legal_name TEXT NOT NULL,
    street TEXT NOT NULL,
    city TEXT NOT NULL,
    postal_code TEXT NOT NULL,
    country TEXT NOT NULL,
    vat_id TEXT,
    tax_id TEXT,
    taxable_dealer BOOLEAN NOT NULL,
    iban TEXT,
    bic TEXT,
    invoice_email TEXT,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    told_by TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_business_details PRIMARY KEY (details_id)
)
""",
    """
CREATE INDEX ix_business_details_party_valid_from ON marketplace.business_details (party, valid_from)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.business_details
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]


TAX_AND_FEES: list[str] = []


EXCHANGE: list[str] = []


NETTING: list[str] = []


SETTLEMENT: list[str] = []


DISPUTES: list[str] = []


INVOICING: list[str] = []


PAYMENTS: list[str] = []


def upgrade() -> None:
    for statement in (
        *LEDGER,
        *PERIODS,
        *CDRS,
        *CUSTOMERS,
        *OFFLINE_LISTS,
        *AUTHORISATION,
        *EXPOSURE,
        *FORWARDING,
        *BUSINESS_DETAILS,
        *TAX_AND_FEES,
        *EXCHANGE,
        *NETTING,
        *SETTLEMENT,
        *DISPUTES,
        *INVOICING,
        *PAYMENTS,
    ):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise RuntimeError("a ledger is not taken back; restore a backup of before instead")
