"""Business services, whole: what each capability adds, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


ONBOARDING: list[str] = []

PEOPLE: list[str] = []

SERVICES: list[str] = []

FRAMEWORK: list[str] = []

NEGOTIATION: list[str] = []

ROAMING: list[str] = []

BILLING: list[str] = []

REPORTING: list[str] = []


def upgrade() -> None:
    for statement in (
        *ONBOARDING,
        *PEOPLE,
        *SERVICES,
        *FRAMEWORK,
        *NEGOTIATION,
        *ROAMING,
        *BILLING,
        *REPORTING,
    ):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise RuntimeError("a log is not taken back; restore a backup of before instead")
