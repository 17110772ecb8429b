"""Business services, whole: what each capability adds, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


ONBOARDING: list[str] = [
    # Nobody could be anything but active.
    "ALTER TABLE marketplace.partner DROP COLUMN status",
    'ALTER TABLE marketplace.partner ADD COLUMN main_party TEXT COLLATE "C"',
    "ALTER TABLE marketplace.partner ADD COLUMN standing JSONB DEFAULT '[]' NOT NULL",
    "ALTER TABLE marketplace.partner ADD COLUMN standing_xid BIGINT",
    "ALTER TABLE marketplace.partner ADD COLUMN leave_due TIMESTAMP WITH TIME ZONE",
    "CREATE INDEX ix_partner_main_party ON marketplace.partner (main_party)",
    "CREATE INDEX ix_partner_standing_xid ON marketplace.partner (standing_xid)",
    "CREATE INDEX ix_partner_leave_due ON marketplace.partner (leave_due)",
    """
CREATE TABLE marketplace.application (
    application_id TEXT COLLATE "C" NOT NULL,
    applicant TEXT COLLATE "C",
    parties TEXT[] NOT NULL,
    details JSONB NOT NULL,
    contacts JSONB NOT NULL,
    roles JSONB NOT NULL,
    status TEXT NOT NULL,
    submitted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    approved_at TIMESTAMP WITH TIME ZONE,
    content BYTEA NOT NULL,
    key BYTEA,
    secret_hash TEXT,
    CONSTRAINT pk_application PRIMARY KEY (application_id),
    CONSTRAINT uq_application_key UNIQUE (key)
)
""",
    "CREATE INDEX ix_application_applicant ON marketplace.application (applicant)",
    "CREATE INDEX ix_application_content ON marketplace.application (content)",
    "CREATE INDEX ix_application_status ON marketplace.application (status, application_id)",
]

PEOPLE: list[str] = [
    """
ALTER TABLE kit.event ADD COLUMN actor TEXT
""",
    "DROP FUNCTION kit.append_events",
    "DROP FUNCTION kit.event_hash",
    r"""
CREATE FUNCTION kit.event_hash(previous bytea, stream text, version bigint, type text, party text,
    occurred_at timestamptz, body jsonb, actor text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(previous || convert_to(concat_ws(E'\n', stream, version, type, party,
    extract(epoch FROM occurred_at), body::text, actor), 'UTF8'))
$$
""",
    r"""
CREATE FUNCTION kit.append_events(streams text[], types text[], parties text[],
    occurred timestamptz[], correlations text[], causations text[], bodies text[],
    actors text[])
RETURNS TABLE (xid xid8, "position" bigint) LANGUAGE plpgsql AS $$
DECLARE
  current_stream text;
  indexes int[];
  i int;
  said jsonb[] := bodies::jsonb[];
  begun boolean;
  head_version bigint;
  head bytea;
  -- Not before its predecessor: of two writers of a stream the later may have begun first.
  place xid8;
  hashes bytea[] := array_fill('\x'::bytea, ARRAY[cardinality(streams)]);
  positions bigint[] := array_fill(0::bigint, ARRAY[cardinality(streams)]);
  places xid8[] := array_fill('0'::xid8, ARRAY[cardinality(streams)]);
  wrote bigint;
BEGIN
  -- Streams in one order for all writers: two appends never wait for each other in a circle.
  FOR current_stream, indexes IN
    SELECT s, array_agg(n ORDER BY n) FROM unnest(streams) WITH ORDINALITY AS u(s, n)
      GROUP BY s ORDER BY s
  LOOP
    -- Most streams are begun and ended here, so a head is written once: when all is known. Twice
    -- only where somebody else begins the same one meanwhile.
    LOOP
      SELECT t.version, t.head_hash, greatest(t.head_xid, pg_current_xact_id())
        INTO head_version, head, place
        FROM kit.stream AS t WHERE t.stream = current_stream FOR NO KEY UPDATE;
      begun := FOUND;
      IF NOT begun THEN
        head_version := 0;
        head := '\x';
        place := pg_current_xact_id();
      END IF;
      FOREACH i IN ARRAY indexes LOOP
        head_version := head_version + 1;
        head := kit.event_hash(head, current_stream, head_version, types[i], parties[i],
          occurred[i], said[i], actors[i]);
        hashes[i] := head;
      END LOOP;
      IF begun THEN
        UPDATE kit.stream AS t SET version = head_version, head_hash = head, head_xid = place
          WHERE t.stream = current_stream;
      ELSE
        INSERT INTO kit.stream VALUES (current_stream, head_version, head, place)
          ON CONFLICT DO NOTHING;
      END IF;
      EXIT WHEN FOUND;
    END LOOP;
    head_version := head_version - cardinality(indexes);
    FOREACH i IN ARRAY indexes LOOP
      head_version := head_version + 1;
      INSERT INTO kit.event AS e (xid, stream, version, type, party, occurred_at, correlation_id,
          causation_id, body, hash, actor)
        VALUES (place, current_stream, head_version, types[i], parties[i], occurred[i],
          correlations[i], causations[i], said[i], hashes[i], actors[i])
        RETURNING e.position INTO wrote;
      positions[i] := wrote;
      places[i] := place;
    END LOOP;
  END LOOP;
  PERFORM pg_notify('events', '');
  RETURN QUERY SELECT x, p FROM unnest(places, positions) WITH ORDINALITY AS u(x, p, n) ORDER BY n;
END
$$
""",
    """
ALTER TABLE marketplace.client ADD COLUMN name TEXT
""",
    """
ALTER TABLE marketplace.client ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE
""",
    """
ALTER TABLE marketplace.client ADD COLUMN retiring_keys JSONB
""",
    """
CREATE TABLE marketplace.token_holder (
    holder TEXT COLLATE "C" NOT NULL,
    party TEXT NOT NULL,
    tokens_from TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_token_holder PRIMARY KEY (holder),
    CONSTRAINT fk_token_holder_party_partner FOREIGN KEY(party) REFERENCES marketplace.partner (party)
)
""",
    """
CREATE INDEX ix_token_holder_party ON marketplace.token_holder (party)
""",
    """
CREATE INDEX ix_token_holder_tokens_from ON marketplace.token_holder (tokens_from)
""",
    """
CREATE TABLE marketplace.person (
    person_id TEXT COLLATE "C" NOT NULL,
    party TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    duties TEXT[] NOT NULL,
    status TEXT NOT NULL,
    invited_at TIMESTAMP WITH TIME ZONE NOT NULL,
    joined_at TIMESTAMP WITH TIME ZONE,
    last_login_at TIMESTAMP WITH TIME ZONE,
    invitation_hash BYTEA,
    invitation_until TIMESTAMP WITH TIME ZONE,
    password_hash TEXT,
    sealed_secret BYTEA,
    last_step BIGINT NOT NULL,
    recovery_hashes BYTEA[] NOT NULL,
    failed INTEGER NOT NULL,
    failed_at TIMESTAMP WITH TIME ZONE,
    issuer TEXT,
    subject TEXT,
    CONSTRAINT pk_person PRIMARY KEY (person_id),
    CONSTRAINT fk_person_party_partner FOREIGN KEY(party) REFERENCES marketplace.partner (party),
    CONSTRAINT uq_person_invitation_hash UNIQUE (invitation_hash)
)
""",
    """
CREATE UNIQUE INDEX uq_person_party_email ON marketplace.person (party, email) WHERE status != 'removed'
""",
    """
CREATE UNIQUE INDEX uq_person_party_issuer_subject ON marketplace.person (party, issuer, subject) WHERE status != 'removed'
""",
    """
CREATE TABLE marketplace.pending_login (
    state_hash BYTEA NOT NULL,
    party TEXT NOT NULL,
    nonce TEXT NOT NULL,
    sealed_verifier BYTEA NOT NULL,
    binding_hash BYTEA NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_pending_login PRIMARY KEY (state_hash)
)
""",
]

SERVICES: list[str] = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    """
ALTER TABLE marketplace.service
    ADD COLUMN tags TEXT[] DEFAULT '{}' NOT NULL,
    ADD COLUMN version TEXT DEFAULT '' NOT NULL,
    ADD COLUMN replaces TEXT,
    ADD COLUMN testers TEXT[] DEFAULT '{}' NOT NULL,
    ADD COLUMN deprecated_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN sunset TIMESTAMP WITH TIME ZONE,
    ADD COLUMN words TEXT DEFAULT '' NOT NULL
""",
    # The word that a provider had chosen is one to be found by; the hub's own services are sorted.
    """
UPDATE marketplace.service SET tags = ARRAY[category], category = 'value-added'
WHERE category NOT IN ('core', 'clearing-house', 'basic-end-user', 'value-added')
""",
    """
UPDATE marketplace.service SET category = told.category, tags = '{}'
FROM (VALUES ('search-evse', 'basic-end-user'), ('clearing-house', 'clearing-house'),
    ('contract-validation', 'core'), ('own-events', 'core'), ('evse-status', 'basic-end-user'),
    ('evse-data', 'basic-end-user'), ('roaming', 'clearing-house')) AS told (name, category)
WHERE service.name = told.name
""",
    """
UPDATE marketplace.service SET words = lower(concat_ws(' ', name, category,
    array_to_string(tags, ' '), provider, description,
    (SELECT string_agg(one ->> 0, ' ') FROM jsonb_array_elements(operations) AS one)))
""",
    "CREATE INDEX ix_service_tags ON marketplace.service USING gin (tags)",
    "CREATE INDEX ix_service_testers ON marketplace.service USING gin (testers)",
    "CREATE INDEX ix_service_replaces ON marketplace.service (replaces)",
    """
CREATE INDEX ix_service_sunset ON marketplace.service (sunset)
WHERE sunset IS NOT NULL AND status <> 'retired'
""",
    "CREATE INDEX ix_service_words ON marketplace.service USING gin (words gin_trgm_ops)",
    "CREATE INDEX ix_partner_name ON marketplace.partner USING gin (name gin_trgm_ops)",
    "ALTER TABLE marketplace.offering ADD COLUMN environment TEXT DEFAULT 'live' NOT NULL",
    "DROP INDEX marketplace.ix_offering_provider",
    "CREATE INDEX ix_offering_provider ON marketplace.offering (provider, offering_id)",
    "CREATE INDEX ix_offering_service ON marketplace.offering (service, offering_id)",
    """
CREATE INDEX ix_offering_audience_published ON marketplace.offering (audience, offering_id)
WHERE status = 'published'
""",
    """
CREATE INDEX ix_offering_sandbox ON marketplace.offering (offering_id)
WHERE environment = 'sandbox'
""",
    "ALTER TABLE marketplace.contract ADD COLUMN environment TEXT DEFAULT 'live' NOT NULL",
    "CREATE INDEX ix_contract_requester ON marketplace.contract (requester, contract_id)",
    """
CREATE INDEX ix_contract_provider_service ON marketplace.contract (provider, service, contract_id)
""",
]

FRAMEWORK: list[str] = [
    """
CREATE TABLE marketplace.contract_module (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest BYTEA NOT NULL,
    body BYTEA NOT NULL,
    published_by TEXT,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_contract_module PRIMARY KEY (name, version)
)
""",
    """
CREATE TABLE marketplace.clauses (
    digest BYTEA NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT pk_clauses PRIMARY KEY (digest)
)
""",
    """
CREATE TABLE marketplace.contract_document (
    contract_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    signatures JSONB NOT NULL,
    kept_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_contract_document PRIMARY KEY (contract_id),
    CONSTRAINT fk_contract_document_contract_id_contract FOREIGN KEY(contract_id) REFERENCES marketplace.contract (contract_id)
)
""",
    *(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.{table}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
        for table in ("contract_module", "clauses", "contract_document")
    ),
    *(
        f"""
ALTER TABLE marketplace.{table}
    ADD COLUMN clauses_digest BYTEA,
    ADD CONSTRAINT fk_{table}_clauses_digest_clauses FOREIGN KEY(clauses_digest) REFERENCES marketplace.clauses (digest)
"""
        for table in ("offering", "contract")
    ),
]

NEGOTIATION: list[str] = [
    """
CREATE TABLE marketplace.message (
    message_id TEXT COLLATE "C" NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    party TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    type TEXT NOT NULL,
    body JSONB NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    says TEXT,
    settled_at TIMESTAMP WITH TIME ZONE,
    way TEXT,
    holder TEXT NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_message PRIMARY KEY (message_id)
)
""",
    "CREATE INDEX ix_message_party ON marketplace.message (party, position)",
    "CREATE INDEX ix_message_subject ON marketplace.message (subject, position)",
    """
CREATE INDEX ix_message_waiting ON marketplace.message (party, position)
    WHERE state = 'must-be-sent'
""",
    "ALTER TABLE marketplace.contract ALTER COLUMN offering_id DROP NOT NULL",
    'ALTER TABLE marketplace.contract ADD COLUMN negotiation_id TEXT COLLATE "C"',
    'ALTER TABLE marketplace.contract ADD COLUMN replaces TEXT COLLATE "C"',
    "ALTER TABLE marketplace.contract ADD COLUMN agreed_until TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE marketplace.contract ADD COLUMN renewals INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE marketplace.contract ADD COLUMN due_at TIMESTAMP WITH TIME ZONE",
    # The reminders of contracts of before come on the days on which they would have come anyway.
    """
UPDATE marketplace.contract SET due_at = (SELECT min(one) FROM unnest(ARRAY[
    valid_until - interval '90 days', valid_until - interval '45 days',
    valid_until - interval '30 days', valid_until]) AS u(one) WHERE one > now())
WHERE valid_until > now() AND valid_until < '9000-01-01'
""",
    """
CREATE INDEX ix_contract_due_at ON marketplace.contract (due_at) WHERE due_at IS NOT NULL
""",
    """
CREATE TABLE marketplace.negotiation (
    negotiation_id TEXT COLLATE "C" NOT NULL,
    requester TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    service TEXT COLLATE "C" NOT NULL,
    major INTEGER NOT NULL,
    offering_id TEXT COLLATE "C",
    replaces TEXT COLLATE "C",
    environment TEXT NOT NULL,
    state TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    version INTEGER NOT NULL,
    document_digest BYTEA,
    contract_id TEXT COLLATE "C",
    CONSTRAINT pk_negotiation PRIMARY KEY (negotiation_id)
)
""",
    """
CREATE INDEX ix_negotiation_provider ON marketplace.negotiation (provider, negotiation_id)
""",
    """
CREATE INDEX ix_negotiation_replaces ON marketplace.negotiation (replaces)
""",
    """
CREATE INDEX ix_negotiation_contract_id ON marketplace.negotiation (contract_id)
""",
    """
CREATE INDEX ix_negotiation_requester_provider_service ON marketplace.negotiation (requester, provider, service)
""",
    """
CREATE INDEX ix_negotiation_until ON marketplace.negotiation (until) WHERE state IN ('accepted', 'agreed', 'offered', 'requested', 'verified')
""",
    """
CREATE TABLE marketplace.negotiation_proposal (
    negotiation_id TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    side TEXT NOT NULL,
    terms_digest BYTEA NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE,
    valid_until TIMESTAMP WITH TIME ZONE,
    stands_until TIMESTAMP WITH TIME ZONE NOT NULL,
    says TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    clauses_digest BYTEA,
    CONSTRAINT pk_negotiation_proposal PRIMARY KEY (negotiation_id, number),
    CONSTRAINT fk_negotiation_proposal_clauses_digest_clauses FOREIGN KEY(clauses_digest) REFERENCES marketplace.clauses (digest),
    CONSTRAINT fk_negotiation_proposal_negotiation_id_negotiation FOREIGN KEY(negotiation_id) REFERENCES marketplace.negotiation (negotiation_id),
    CONSTRAINT fk_negotiation_proposal_terms_digest_terms FOREIGN KEY(terms_digest) REFERENCES marketplace.terms (digest)
)
""",
    """
CREATE TABLE marketplace.negotiation_move (
    negotiation_id TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    action TEXT NOT NULL,
    side TEXT NOT NULL,
    party TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    proposal INTEGER NOT NULL,
    says TEXT,
    CONSTRAINT pk_negotiation_move PRIMARY KEY (negotiation_id, number),
    CONSTRAINT fk_negotiation_move_negotiation_id_negotiation FOREIGN KEY(negotiation_id) REFERENCES marketplace.negotiation (negotiation_id)
)
""",
    """
CREATE TABLE marketplace.negotiation_document (
    negotiation_id TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT pk_negotiation_document PRIMARY KEY (negotiation_id),
    CONSTRAINT fk_negotiation_document_negotiation_id_negotiation FOREIGN KEY(negotiation_id) REFERENCES marketplace.negotiation (negotiation_id)
)
""",
    """
CREATE TABLE marketplace.negotiation_signature (
    negotiation_id TEXT COLLATE "C" NOT NULL,
    side TEXT NOT NULL,
    party TEXT COLLATE "C" NOT NULL,
    jws TEXT NOT NULL,
    public_key JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_negotiation_signature PRIMARY KEY (negotiation_id, side),
    CONSTRAINT fk_negotiation_signature_negotiation_id_negotiation FOREIGN KEY(negotiation_id) REFERENCES marketplace.negotiation (negotiation_id)
)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.negotiation_proposal
    FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.negotiation_move
    FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.negotiation_document
    FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.negotiation_signature
    FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]

ROAMING: list[str] = []

BILLING: list[str] = [
    """
CREATE TABLE marketplace.billing_run (
    run_id TEXT COLLATE "C" NOT NULL,
    month TEXT COLLATE "C" NOT NULL,
    up_to TIMESTAMP WITH TIME ZONE NOT NULL,
    earlier TEXT[] NOT NULL,
    begun_by TEXT COLLATE "C" NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    summed BOOLEAN NOT NULL,
    after TEXT COLLATE "C" NOT NULL,
    contracts BIGINT NOT NULL,
    invoices BIGINT NOT NULL,
    credit_notes BIGINT NOT NULL,
    not_invoiced BIGINT NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    holder TEXT,
    held_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_billing_run PRIMARY KEY (run_id)
)
""",
    """
CREATE INDEX ix_billing_run_month ON marketplace.billing_run (month)
""",
    """
CREATE TABLE marketplace.billing_invoice (
    number TEXT COLLATE "C" NOT NULL,
    log_position BIGINT NOT NULL,
    kind TEXT NOT NULL,
    about TEXT NOT NULL,
    seller TEXT COLLATE "C" NOT NULL,
    buyer TEXT COLLATE "C" NOT NULL,
    contract_id TEXT COLLATE "C",
    run_id TEXT COLLATE "C",
    month TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    issued_on DATE NOT NULL,
    due_on DATE,
    net_minor BIGINT NOT NULL,
    gross_minor BIGINT NOT NULL,
    corrects TEXT COLLATE "C",
    reason TEXT,
    content JSONB NOT NULL,
    xml BYTEA NOT NULL,
    xml_sha256 BYTEA NOT NULL,
    CONSTRAINT pk_billing_invoice PRIMARY KEY (number),
    CONSTRAINT uq_billing_invoice_log_position UNIQUE (log_position)
)
""",
    """
CREATE INDEX ix_billing_invoice_buyer ON marketplace.billing_invoice (buyer, log_position)
""",
    """
CREATE INDEX ix_billing_invoice_corrects ON marketplace.billing_invoice (corrects) WHERE corrects IS NOT NULL
""",
    """
CREATE INDEX ix_billing_invoice_due_on ON marketplace.billing_invoice (due_on) WHERE due_on IS NOT NULL
""",
    """
CREATE INDEX ix_billing_invoice_seller ON marketplace.billing_invoice (seller, log_position)
""",
    """
CREATE TABLE marketplace.billing_line (
    number TEXT COLLATE "C" NOT NULL,
    line INTEGER NOT NULL,
    contract_id TEXT COLLATE "C",
    month TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    told TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    taken BOOLEAN NOT NULL,
    corrects TEXT COLLATE "C",
    corrects_line INTEGER,
    CONSTRAINT pk_billing_line PRIMARY KEY (number, line)
)
""",
    """
CREATE INDEX ix_billing_line_contract_id ON marketplace.billing_line (contract_id, month)
""",
    """
CREATE INDEX ix_billing_line_corrects ON marketplace.billing_line (corrects) WHERE corrects IS NOT NULL
""",
    """
CREATE TABLE marketplace.billing_series (
    seller TEXT COLLATE "C" NOT NULL,
    year INTEGER NOT NULL,
    kind TEXT NOT NULL,
    counted BIGINT NOT NULL,
    CONSTRAINT pk_billing_series PRIMARY KEY (seller, year, kind)
)
""",
    """
CREATE TABLE marketplace.billing_uninvoiced (
    contract_id TEXT COLLATE "C" NOT NULL,
    seller TEXT COLLATE "C" NOT NULL,
    buyer TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    month TEXT COLLATE "C" NOT NULL,
    net_minor BIGINT NOT NULL,
    wanted JSONB NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_uninvoiced PRIMARY KEY (contract_id, seller, buyer, currency, month)
)
""",
    """
CREATE TABLE marketplace.billing_entry (
    number TEXT COLLATE "C" NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    way TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    on_day DATE NOT NULL,
    note TEXT NOT NULL,
    recorded_by TEXT COLLATE "C" NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_entry PRIMARY KEY (number, reference)
)
""",
    """
CREATE TABLE marketplace.billing_reminder (
    number TEXT COLLATE "C" NOT NULL,
    level INTEGER NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_reminder PRIMARY KEY (number, level)
)
""",
    """
CREATE TABLE marketplace.billing_fee (
    fee_no BIGINT GENERATED ALWAYS AS IDENTITY,
    valid_from TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C",
    category TEXT,
    percent NUMERIC NOT NULL,
    per_invoice_minor BIGINT NOT NULL,
    currency TEXT COLLATE "C",
    set_by TEXT COLLATE "C" NOT NULL,
    set_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_fee PRIMARY KEY (fee_no)
)
""",
    """
CREATE TABLE marketplace.billing_share (
    number TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    percent NUMERIC NOT NULL,
    per_invoice_minor BIGINT NOT NULL,
    net_minor BIGINT NOT NULL,
    provider_minor BIGINT NOT NULL,
    fee_minor BIGINT NOT NULL,
    CONSTRAINT pk_billing_share PRIMARY KEY (number),
    CONSTRAINT ck_billing_share_split CHECK (net_minor = provider_minor + fee_minor)
)
""",
    """
CREATE INDEX ix_billing_share_provider ON marketplace.billing_share (provider)
""",
    """
CREATE TABLE marketplace.billing_share_taken (
    number TEXT COLLATE "C" NOT NULL,
    fee_number TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_billing_share_taken PRIMARY KEY (number)
)
""",
    """
CREATE TABLE gateway.usage_sum (
    asked_by TEXT NOT NULL,
    contract_id TEXT NOT NULL,
    begins_at TIMESTAMP WITH TIME ZONE NOT NULL,
    quarter BOOLEAN NOT NULL,
    calls BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    units BIGINT NOT NULL,
    CONSTRAINT pk_usage_sum PRIMARY KEY (asked_by, contract_id, begins_at, quarter)
)
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_invoice
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_line
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_entry
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_fee
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_share
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.billing_share_taken
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]

REPORTING: list[str] = [
    "ALTER TABLE gateway.usage ADD COLUMN units BIGINT DEFAULT '1' NOT NULL",
    "ALTER TABLE gateway.usage ADD COLUMN written_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL",
    "CREATE INDEX ix_usage_times ON gateway.usage USING brin (at, written_at) WITH (pages_per_range = 32, autosummarize = on)",
    # Its texts are compared with those of gateway.usage, and so are collated like them.
    """
CREATE TABLE gateway.usage_day (
    day DATE NOT NULL,
    contract_id TEXT NOT NULL,
    service TEXT NOT NULL,
    major INTEGER NOT NULL,
    provider TEXT NOT NULL,
    requester TEXT NOT NULL,
    calls BIGINT NOT NULL,
    billable_calls BIGINT NOT NULL,
    caller_errors BIGINT NOT NULL,
    provider_errors BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    units BIGINT NOT NULL,
    times INTEGER[] NOT NULL,
    counts BIGINT[] NOT NULL,
    CONSTRAINT pk_usage_day PRIMARY KEY (day, contract_id, service, major, provider, requester)
)
""",
    """
CREATE INDEX ix_usage_day_provider ON gateway.usage_day (provider, day)
""",
    """
CREATE INDEX ix_usage_day_requester ON gateway.usage_day (requester, day)
""",
    """
CREATE TABLE gateway.usage_rolled (
    one INTEGER NOT NULL,
    behind DATE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_usage_rolled PRIMARY KEY (one)
)
""",
]


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
