"""The clearing house, whole: what each capability adds to the ground, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


LEDGER: list[str] = [
    """
CREATE TABLE clearinghouse.ledger_posting (
    posting_id BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    book TEXT COLLATE "C" NOT NULL,
    book_no BIGINT NOT NULL,
    operator TEXT COLLATE "C",
    cdr_id TEXT COLLATE "C",
    value_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    hash BYTEA NOT NULL,
    CONSTRAINT pk_ledger_posting PRIMARY KEY (posting_id),
    CONSTRAINT uq_ledger_posting_book_book_no UNIQUE (book, book_no)
)
""",
    """
CREATE TABLE clearinghouse.ledger_book (
    book TEXT COLLATE "C" NOT NULL,
    postings BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    CONSTRAINT pk_ledger_book PRIMARY KEY (book)
)
""",
    """
CREATE TABLE clearinghouse.ledger_balance (
    party TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    counterparty TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    CONSTRAINT pk_ledger_balance PRIMARY KEY (party, account, counterparty, currency)
)
""",
    # What was posted before had no chain: it gets the one that it would have now.
    """
CREATE FUNCTION pg_temp.chain() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  one record;
  last_book text;
  previous bytea := '';
  number bigint := 0;
BEGIN
  FOR one IN
    SELECT posting_id, operator, cdr_id, occurred_at, recorded_at,
      string_agg(E'\n' || account || E'\t' || party || E'\t' || counterparty || E'\t' || currency
        || E'\t' || amount_minor || E'\t' || (account = 'charge-receivable')::int || E'\tmultilateral',
        '' ORDER BY entry_id) AS lines
    FROM clearinghouse.ledger_entry GROUP BY 1, 2, 3, 4, 5 ORDER BY operator COLLATE "C", posting_id
  LOOP
    IF one.operator IS DISTINCT FROM last_book THEN
      INSERT INTO clearinghouse.ledger_book SELECT last_book, number, previous
        WHERE last_book IS NOT NULL;
      last_book := one.operator;
      previous := '';
      number := 0;
    END IF;
    number := number + 1;
    previous := sha256(previous || convert_to(concat_ws(E'\n', one.posting_id, 'charge',
      one.operator, number, one.operator, one.cdr_id, pg_temp.instant(one.occurred_at),
      pg_temp.instant(one.recorded_at)) || one.lines, 'UTF8'));
    INSERT INTO clearinghouse.ledger_posting VALUES (one.posting_id, 'charge', one.operator, number,
      one.operator, one.cdr_id, one.occurred_at, one.recorded_at, previous);
  END LOOP;
  INSERT INTO clearinghouse.ledger_book SELECT last_book, number, previous
    WHERE last_book IS NOT NULL;
END
$$
""",
    # As Python writes an instant: with microseconds only where there are any.
    """
CREATE FUNCTION pg_temp.instant(at timestamptz) RETURNS text LANGUAGE sql AS $$
  SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
    || CASE WHEN date_trunc('second', at) = at THEN ''
      ELSE to_char(at AT TIME ZONE 'UTC', '.US') END || '+00:00'
$$
""",
    "SELECT pg_temp.chain()",
    "DROP TRIGGER append_only ON clearinghouse.ledger_entry",
    "DROP TRIGGER balanced ON clearinghouse.ledger_entry",
    "DROP FUNCTION clearinghouse.refuse_unbalanced()",
    "DROP INDEX clearinghouse.ix_ledger_entry_netting",
    "DROP INDEX clearinghouse.ix_ledger_entry_statement",
    "ALTER TABLE clearinghouse.ledger_entry RENAME COLUMN occurred_at TO value_at",
    # PostgreSQL 18 names these after their columns: made anew, it has the new name.
    "ALTER TABLE clearinghouse.ledger_entry ALTER COLUMN value_at DROP NOT NULL",
    """
ALTER TABLE clearinghouse.ledger_entry DROP COLUMN operator, DROP COLUMN cdr_id,
  DROP COLUMN recorded_at, ADD COLUMN cdrs SMALLINT,
  ADD COLUMN clearing_group TEXT COLLATE "C"
""",
    """
UPDATE clearinghouse.ledger_entry SET cdrs = (account = 'charge-receivable')::int,
  clearing_group = 'multilateral'
""",
    """
ALTER TABLE clearinghouse.ledger_entry ALTER COLUMN value_at SET NOT NULL,
  ALTER COLUMN cdrs SET NOT NULL,
  ALTER COLUMN clearing_group SET NOT NULL
""",
    """
INSERT INTO clearinghouse.ledger_balance
SELECT party, account, counterparty, currency, sum(amount_minor)
FROM clearinghouse.ledger_entry GROUP BY 1, 2, 3, 4
""",
    """
CREATE INDEX ix_ledger_posting_of_cdr ON clearinghouse.ledger_posting (operator, cdr_id)
  WHERE kind <> 'charge'
""",
    """
CREATE INDEX ix_ledger_entry_netting ON clearinghouse.ledger_entry (currency, value_at)
  INCLUDE (party, counterparty, account, amount_minor, cdrs)
  WHERE account IN ('charge-receivable', 'vat-receivable') AND clearing_group <> ''
""",
    """
CREATE INDEX ix_ledger_entry_statement ON clearinghouse.ledger_entry
  (party, currency, value_at, posting_id) WHERE account IN ('charge-receivable', 'charge-payable')
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.ledger_posting
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.ledger_entry
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE FUNCTION clearinghouse.settle_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  unbalanced bigint;
BEGIN
  SELECT posting_id INTO unbalanced FROM written
    GROUP BY posting_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'posting % does not sum to zero', unbalanced USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO clearinghouse.ledger_balance AS b (party, account, counterparty, currency,
      amount_minor)
    SELECT party, account, counterparty, currency, sum(amount_minor) FROM written
      GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (party, account, counterparty, currency)
      DO UPDATE SET amount_minor = b.amount_minor + excluded.amount_minor;
  RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER settled AFTER INSERT ON clearinghouse.ledger_entry
  REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION clearinghouse.settle_entries()
""",
]


PERIODS: list[str] = [
    """
CREATE TABLE clearinghouse.accounting_period (
    period_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    begun_closing_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_accounting_period PRIMARY KEY (period_id),
    CONSTRAINT ck_accounting_period_state CHECK (state IN ('open', 'closing', 'closed', 'settled'))
)
""",
    """
INSERT INTO clearinghouse.accounting_period (period_id, state)
SELECT DISTINCT to_char(value_at AT TIME ZONE 'UTC', 'YYYY-MM'), 'open'
FROM clearinghouse.ledger_posting
""",
]


CDRS: list[str] = [
    "ALTER TABLE clearinghouse.cdr ADD COLUMN notices JSONB DEFAULT '[]'::jsonb NOT NULL",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN total_cost JSONB",
    """
CREATE INDEX ix_cdr_on_evse ON clearinghouse.cdr (evse_id, ended_at, started_at) WHERE state <> 'rejected'
""",
    """
ALTER TABLE clearinghouse.cdr ADD COLUMN credit_reference_id TEXT, ADD COLUMN replaces TEXT,
  ADD COLUMN moved_to TIMESTAMP WITH TIME ZONE, ADD COLUMN clearing_group TEXT
""",
    "UPDATE clearinghouse.cdr SET clearing_group = 'multilateral' WHERE currency IS NOT NULL",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN vat_rule TEXT",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN vat_category TEXT",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN vat_percent NUMERIC",
    "ALTER TABLE clearinghouse.cdr ADD COLUMN meter_check JSONB",
    "ALTER TABLE clearinghouse.cdr ALTER COLUMN log_xid SET DEFAULT pg_current_xact_id()",
    """
CREATE TABLE clearinghouse.meter_key (
    operator TEXT NOT NULL,
    evse_id TEXT NOT NULL,
    public_keys TEXT[] NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_meter_key PRIMARY KEY (operator, evse_id)
)
""",
    """
CREATE TABLE clearinghouse.cdr_file (
    upload_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    file_id TEXT NOT NULL,
    state TEXT NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE NOT NULL,
    touched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    digest BYTEA,
    records INTEGER DEFAULT 0 NOT NULL,
    energy_wh BIGINT DEFAULT 0 NOT NULL,
    totals JSONB DEFAULT '{}'::jsonb NOT NULL,
    faults JSONB DEFAULT '[]'::jsonb NOT NULL,
    accepted INTEGER DEFAULT 0 NOT NULL,
    flagged INTEGER DEFAULT 0 NOT NULL,
    rejected INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_cdr_file PRIMARY KEY (upload_id)
)
""",
    """
CREATE UNIQUE INDEX uq_cdr_file_taken_once ON clearinghouse.cdr_file (operator, file_id) WHERE state IN ('booking', 'booked')
""",
    """
CREATE INDEX ix_cdr_file_of_operator ON clearinghouse.cdr_file (operator, file_id, begun_at)
""",
    """
CREATE INDEX ix_cdr_file_at_work ON clearinghouse.cdr_file (touched_at) WHERE state IN ('receiving', 'booking')
""",
    """
CREATE TABLE clearinghouse.cdr_file_line (
    upload_id TEXT NOT NULL,
    line INTEGER NOT NULL,
    content BYTEA,
    cdr_id TEXT,
    state TEXT,
    reasons JSONB,
    CONSTRAINT pk_cdr_file_line PRIMARY KEY (upload_id, line),
    CONSTRAINT fk_cdr_file_line_upload_id_cdr_file FOREIGN KEY(upload_id) REFERENCES clearinghouse.cdr_file (upload_id) ON DELETE CASCADE
)
""",
    """
CREATE INDEX ix_cdr_file_line_waiting ON clearinghouse.cdr_file_line (upload_id, line) WHERE content IS NOT NULL
""",
]


CUSTOMERS: list[str] = [
    "ALTER TABLE clearinghouse.customer_contract ADD COLUMN limits jsonb",
    "ALTER TABLE clearinghouse.customer_contract"
    " DROP CONSTRAINT ck_customer_contract_authorisation",
    "ALTER TABLE clearinghouse.customer_contract ADD CONSTRAINT ck_customer_contract_authorisation"
    " CHECK (authorisation IN ('list', 'ask', 'both'))",
    "ALTER TABLE clearinghouse.customer_contract ADD COLUMN changed_xid bigint NOT NULL"
    " DEFAULT pg_current_xact_id()::text::bigint",
    "CREATE INDEX ix_customer_contract_evsp_changed_xid"
    " ON clearinghouse.customer_contract (evsp, changed_xid)",
    "CREATE INDEX ix_customer_contract_evsp_valid_from"
    " ON clearinghouse.customer_contract (evsp, valid_from) WHERE valid_from > changed_at",
    "ALTER TABLE clearinghouse.customer_token ADD COLUMN kept_xid bigint NOT NULL"
    " DEFAULT pg_current_xact_id()::text::bigint",
    """
CREATE TABLE clearinghouse.customer_token_given_up (
    evsp text COLLATE "C" NOT NULL,
    uid text COLLATE "C" NOT NULL,
    kept_xid bigint NOT NULL,
    given_up_xid bigint NOT NULL,
    CONSTRAINT pk_customer_token_given_up PRIMARY KEY (evsp, uid)
)
""",
    "CREATE INDEX ix_customer_token_given_up_evsp_given_up_xid"
    " ON clearinghouse.customer_token_given_up (evsp, given_up_xid)",
    """
CREATE TABLE clearinghouse.customer_upload (
    evsp text COLLATE "C" NOT NULL,
    upload_id text COLLATE "C" NOT NULL,
    mode text NOT NULL,
    state text NOT NULL,
    lines bigint NOT NULL,
    read bigint NOT NULL,
    created bigint NOT NULL,
    changed bigint NOT NULL,
    rejected bigint NOT NULL,
    unnamed bigint NOT NULL,
    rejections jsonb NOT NULL,
    active_before bigint,
    ended bigint NOT NULL,
    began_xid bigint NOT NULL,
    began_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT ck_customer_upload_mode CHECK (mode IN ('delta', 'full')),
    CONSTRAINT ck_customer_upload_state CHECK (state IN ('open', 'complete', 'replaced')),
    CONSTRAINT pk_customer_upload PRIMARY KEY (evsp, upload_id)
)
""",
    """
CREATE TABLE clearinghouse.customer_listed (
    evsp text COLLATE "C" NOT NULL,
    contract_id text COLLATE "C" NOT NULL,
    CONSTRAINT pk_customer_listed PRIMARY KEY (evsp, contract_id)
)
""",
]


OFFLINE_LISTS: list[str] = [
    """
CREATE TABLE clearinghouse.offline_consent (
    evsp text COLLATE "C" NOT NULL,
    operator text COLLATE "C" NOT NULL,
    given boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT pk_offline_consent PRIMARY KEY (evsp, operator)
)
""",
    """
CREATE TABLE clearinghouse.offline_list_version (
    operator text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    snapshot text NOT NULL,
    made_at timestamptz NOT NULL,
    shares jsonb NOT NULL,
    CONSTRAINT pk_offline_list_version PRIMARY KEY (operator, version)
)
""",
]


AUTHORISATION: list[str] = [
    """
    ALTER TABLE clearinghouse.evsp_policy
      ADD COLUMN accept_up_to_minor BIGINT,
      ADD COLUMN currency TEXT,
      ADD COLUMN asks_unknown BOOLEAN DEFAULT false NOT NULL,
      ADD COLUMN ask_timeout_ms INTEGER DEFAULT 3000 NOT NULL
    """,
    """
    ALTER TABLE clearinghouse.authorisation
      ADD COLUMN max_amount_minor BIGINT,
      ADD COLUMN max_amount_currency TEXT,
      ADD COLUMN certificate_digest TEXT
    """,
    """
    CREATE TABLE clearinghouse.contract_authority (
      evsp TEXT COLLATE "C" NOT NULL,
      certificates TEXT NOT NULL,
      CONSTRAINT pk_contract_authority PRIMARY KEY (evsp)
    )
    """,
    """
    CREATE TABLE clearinghouse.revoked_certificate (
      evsp TEXT COLLATE "C" NOT NULL,
      serial_number TEXT COLLATE "C" NOT NULL,
      revoked_at TIMESTAMP WITH TIME ZONE NOT NULL,
      CONSTRAINT pk_revoked_certificate PRIMARY KEY (evsp, serial_number)
    )
    """,
]


EXPOSURE: list[str] = [
    """
CREATE TABLE clearinghouse.exposure_limit (
    evsp TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    cap_minor BIGINT NOT NULL,
    hold_minor BIGINT NOT NULL,
    hold_days INTEGER NOT NULL,
    level TEXT NOT NULL,
    set_by TEXT NOT NULL,
    set_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_exposure_limit PRIMARY KEY (evsp),
    CONSTRAINT ck_exposure_limit_level CHECK (level IN ('within', 'warned', 'exhausted'))
)
""",
    """
CREATE TABLE clearinghouse.exposure_hold (
    authorisation_id TEXT COLLATE "C" NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    contract_id TEXT COLLATE "C",
    evse_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    charge_at TIMESTAMP WITH TIME ZONE NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    ended_by TEXT,
    CONSTRAINT pk_exposure_hold PRIMARY KEY (authorisation_id),
    CONSTRAINT ck_exposure_hold_ended_by CHECK (ended_by IN ('cdr', 'expiry'))
)
""",
    """
CREATE INDEX ix_exposure_hold_of_contract ON clearinghouse.exposure_hold (contract_id, charge_at) WHERE ended_at IS NULL
""",
    """
CREATE INDEX ix_exposure_hold_open ON clearinghouse.exposure_hold (evsp) WHERE ended_at IS NULL
""",
    """
CREATE TABLE clearinghouse.exposure_deposit (
    reference TEXT NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    deposit TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    log_position BIGINT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_exposure_deposit PRIMARY KEY (reference),
    CONSTRAINT ck_exposure_deposit_deposit CHECK (deposit IN ('prepayment', 'collateral'))
)
""",
    """
CREATE INDEX ix_cdr_of_contract ON clearinghouse.cdr (contract_id, started_at) WHERE state <> 'rejected'
""",
]


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


TAX_AND_FEES = [
    """
CREATE TABLE clearinghouse.fee_schedule (
    schedule_id BIGINT GENERATED ALWAYS AS IDENTITY,
    payer TEXT NOT NULL,
    party TEXT,
    valid_from TEXT NOT NULL,
    currency TEXT NOT NULL,
    per_cdr NUMERIC NOT NULL,
    per_kwh NUMERIC NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_fee_schedule PRIMARY KEY (schedule_id)
)
""",
    """
CREATE TABLE clearinghouse.fee (
    period_id TEXT NOT NULL,
    party TEXT NOT NULL,
    currency TEXT NOT NULL,
    posting_id BIGINT NOT NULL,
    net_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL,
    vat_rule TEXT NOT NULL,
    vat_category TEXT,
    vat_percent NUMERIC,
    parts JSONB NOT NULL,
    CONSTRAINT pk_fee PRIMARY KEY (period_id, party, currency)
)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.fee_schedule
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.fee
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]


EXCHANGE = [
    """
CREATE TABLE clearinghouse.exchange_rate (
    base TEXT COLLATE "C" NOT NULL,
    quote TEXT COLLATE "C" NOT NULL,
    at DATE NOT NULL,
    rate NUMERIC NOT NULL,
    source TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_exchange_rate PRIMARY KEY (base, quote, at)
)
""",
    """
CREATE INDEX ix_exchange_rate_at ON clearinghouse.exchange_rate (at)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.exchange_rate
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]


NETTING: list[str] = []


SETTLEMENT: list[str] = [
    """
CREATE TABLE clearinghouse.settlement (
    period_id TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    strategy TEXT NOT NULL,
    method TEXT,
    rates JSONB NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_settlement PRIMARY KEY (period_id, clearing_group, currency)
)
""",
    """
CREATE TABLE clearinghouse.settlement_pair (
    period_id TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    settled_in TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    debtor TEXT COLLATE "C" NOT NULL,
    creditor TEXT COLLATE "C" NOT NULL,
    charge_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL,
    fee_minor BIGINT NOT NULL,
    fee_vat_minor BIGINT NOT NULL,
    cdrs BIGINT NOT NULL,
    settled_minor BIGINT NOT NULL,
    CONSTRAINT pk_settlement_pair
      PRIMARY KEY (period_id, clearing_group, settled_in, currency, debtor, creditor)
)
""",
    """
CREATE TABLE clearinghouse.settlement_payment (
    payment_id TEXT NOT NULL,
    period_id TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    payer TEXT COLLATE "C" NOT NULL,
    payee TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    due_on DATE NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL,
    paid_minor BIGINT NOT NULL,
    defaulter TEXT COLLATE "C",
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_settlement_payment PRIMARY KEY (payment_id),
    CONSTRAINT uq_settlement_payment_reference UNIQUE (reference)
)
""",
    """
CREATE INDEX ix_settlement_payment_period_id ON clearinghouse.settlement_payment (period_id)
""",
    """
CREATE INDEX ix_settlement_payment_payer ON clearinghouse.settlement_payment (payer, due_on)
""",
    """
CREATE INDEX ix_settlement_payment_payee ON clearinghouse.settlement_payment (payee, due_on)
""",
    """
CREATE TABLE clearinghouse.settlement_receipt (
    payment_id TEXT NOT NULL,
    source TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    paid_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_settlement_receipt PRIMARY KEY (payment_id, source)
)
""",
    """
CREATE TABLE clearinghouse.settlement_default (
    period_id TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    defaulter TEXT COLLATE "C" NOT NULL,
    rule TEXT NOT NULL,
    collateral_minor BIGINT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_settlement_default
      PRIMARY KEY (period_id, clearing_group, currency, defaulter)
)
""",
    *(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.{table}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
        for table in ("settlement", "settlement_pair", "settlement_receipt", "settlement_default")
    ),
]


DISPUTES: list[str] = [
    """
CREATE TABLE clearinghouse.dispute (
    dispute_id TEXT COLLATE "C" NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    cdr_id TEXT COLLATE "C" NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    currency TEXT NOT NULL,
    excl_vat_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL,
    clearing_group TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    value_at TIMESTAMP WITH TIME ZONE NOT NULL,
    history JSONB NOT NULL,
    CONSTRAINT pk_dispute PRIMARY KEY (dispute_id)
)
""",
    """
CREATE UNIQUE INDEX uq_dispute_running ON clearinghouse.dispute (operator, cdr_id)
  WHERE state IN ('opened', 'contested', 'escalated')
""",
    "CREATE INDEX ix_dispute_of_operator ON clearinghouse.dispute (operator, dispute_id)",
    "CREATE INDEX ix_dispute_of_evsp ON clearinghouse.dispute (evsp, dispute_id)",
    "CREATE INDEX ix_dispute_due ON clearinghouse.dispute (due_at) WHERE due_at IS NOT NULL",
]


INVOICING: list[str] = [
    """
CREATE TABLE clearinghouse.invoice (
    number TEXT COLLATE "C" NOT NULL,
    log_position BIGINT NOT NULL,
    kind TEXT NOT NULL,
    seller TEXT COLLATE "C" NOT NULL,
    buyer TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    period_id TEXT COLLATE "C" NOT NULL,
    issued_on DATE NOT NULL,
    net_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL,
    vat_rounding_minor BIGINT NOT NULL,
    content JSONB NOT NULL,
    xml BYTEA NOT NULL,
    xml_sha256 BYTEA NOT NULL,
    CONSTRAINT pk_invoice PRIMARY KEY (number),
    CONSTRAINT uq_invoice_log_position UNIQUE (log_position)
)
""",
    """
CREATE INDEX ix_invoice_buyer ON clearinghouse.invoice (buyer, log_position)
""",
    """
CREATE INDEX ix_invoice_period_id ON clearinghouse.invoice (period_id, log_position)
""",
    """
CREATE INDEX ix_invoice_seller ON clearinghouse.invoice (seller, log_position)
""",
    """
CREATE TABLE clearinghouse.invoice_series (
    seller TEXT COLLATE "C" NOT NULL,
    year INTEGER NOT NULL,
    kind TEXT NOT NULL,
    counted BIGINT NOT NULL,
    CONSTRAINT pk_invoice_series PRIMARY KEY (seller, year, kind)
)
""",
    """
CREATE TABLE clearinghouse.uninvoiced (
    period_id TEXT COLLATE "C" NOT NULL,
    seller TEXT COLLATE "C" NOT NULL,
    buyer TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    clearing_group TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    net_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL,
    wanted JSONB NOT NULL,
    CONSTRAINT pk_uninvoiced PRIMARY KEY (period_id, seller, buyer, currency, clearing_group, kind)
)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.invoice
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]


PAYMENTS: list[str] = [
    """
CREATE TABLE clearinghouse.bank_entry (
    account TEXT COLLATE "C" NOT NULL,
    statement_id TEXT COLLATE "C" NOT NULL,
    entry_ref TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    booked_on DATE NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    end_to_end_id TEXT,
    counterparty_iban TEXT,
    counterparty_name TEXT,
    says TEXT NOT NULL,
    returned BOOLEAN NOT NULL,
    outcome TEXT NOT NULL,
    reference TEXT,
    paid_minor BIGINT NOT NULL,
    over_minor BIGINT NOT NULL,
    because TEXT NOT NULL,
    guesses JSONB NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE,
    refused TEXT,
    CONSTRAINT pk_bank_entry PRIMARY KEY (account, statement_id, entry_ref, number)
)
""",
    """
CREATE INDEX ix_bank_entry_unapplied ON clearinghouse.bank_entry (recorded_at) WHERE reference IS NOT NULL AND applied_at IS NULL
""",
    """
CREATE TABLE clearinghouse.payment_reminder (
    reference TEXT COLLATE "C" NOT NULL,
    level TEXT COLLATE "C" NOT NULL,
    log_position BIGINT NOT NULL,
    payer TEXT COLLATE "C" NOT NULL,
    payee TEXT COLLATE "C" NOT NULL,
    content JSONB NOT NULL,
    CONSTRAINT pk_payment_reminder PRIMARY KEY (reference, level)
)
""",
    """
CREATE INDEX ix_payment_reminder_payee ON clearinghouse.payment_reminder (payee, log_position)
""",
    """
CREATE INDEX ix_payment_reminder_payer ON clearinghouse.payment_reminder (payer, log_position)
""",
]


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
