"""The clearing house, whole: what each capability adds to the ground, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


LEDGER: list[str] = []


PERIODS: list[str] = []


CDRS: list[str] = []


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


BUSINESS_DETAILS: list[str] = []


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
