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


FORWARDING: list[str] = []


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
