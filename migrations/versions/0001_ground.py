"""The ground: every table, function and trigger of the first release."""

# SQL is shown as it runs: a line that is too long here is one that PostgreSQL has, too.
# ruff: noqa: E501

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = [
    """
CREATE SCHEMA IF NOT EXISTS clearinghouse
""",
    """
CREATE SCHEMA IF NOT EXISTS gateway
""",
    """
CREATE SCHEMA IF NOT EXISTS kit
""",
    """
CREATE SCHEMA IF NOT EXISTS marketplace
""",
    """
CREATE SCHEMA IF NOT EXISTS search_evse
""",
    """
CREATE TABLE clearinghouse.authorisation (
    authorisation_id TEXT COLLATE "C" NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    evse_id TEXT COLLATE "C" NOT NULL,
    identification_type TEXT NOT NULL,
    identification_value TEXT NOT NULL,
    services TEXT[] NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    at_given BOOLEAN NOT NULL,
    charge_id TEXT COLLATE "C",
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT,
    contract_id TEXT COLLATE "C",
    evsp TEXT COLLATE "C",
    valid_until TIMESTAMP WITH TIME ZONE,
    agreement_id TEXT,
    price JSON,
    details JSONB NOT NULL,
    CONSTRAINT pk_authorisation PRIMARY KEY (authorisation_id)
)
""",
    """
CREATE UNIQUE INDEX uq_authorisation_operator_charge_id ON clearinghouse.authorisation (operator, charge_id) WHERE charge_id IS NOT NULL
""",
    """
CREATE TABLE clearinghouse.cdr (
    log_position BIGINT NOT NULL,
    log_xid xid8 NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    cdr_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    reasons JSONB NOT NULL,
    evse_id TEXT COLLATE "C" NOT NULL,
    authorisation_id TEXT,
    told_contract_id TEXT,
    token_uid TEXT,
    evsp TEXT COLLATE "C",
    contract_id TEXT,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    told_time_zone TEXT,
    energy_wh BIGINT NOT NULL,
    periods JSONB NOT NULL,
    signed_meter_values JSONB NOT NULL,
    agreement_id TEXT,
    time_zone TEXT,
    currency TEXT,
    excl_vat_minor BIGINT,
    vat_minor BIGINT,
    price_lines JSONB NOT NULL,
    content BYTEA NOT NULL,
    fingerprint BYTEA,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_cdr PRIMARY KEY (log_position)
)
""",
    """
CREATE INDEX ix_cdr_of_evsp ON clearinghouse.cdr (evsp, log_xid, log_position) WHERE state <> 'rejected'
""",
    """
CREATE INDEX ix_cdr_of_operator ON clearinghouse.cdr (operator, log_xid, log_position)
""",
    """
CREATE INDEX ix_cdr_rejected ON clearinghouse.cdr (operator, cdr_id, log_position) WHERE state = 'rejected'
""",
    """
CREATE UNIQUE INDEX uq_cdr_booked_once ON clearinghouse.cdr (operator, cdr_id) WHERE state <> 'rejected'
""",
    """
CREATE UNIQUE INDEX uq_cdr_content_once ON clearinghouse.cdr (fingerprint) WHERE state <> 'rejected'
""",
    """
CREATE TABLE clearinghouse.clearing_run (
    run_id TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    period_end TIMESTAMP WITH TIME ZONE NOT NULL,
    currency TEXT NOT NULL,
    strategy TEXT NOT NULL,
    method TEXT,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_clearing_run PRIMARY KEY (run_id)
)
""",
    """
CREATE INDEX ix_clearing_run_requested_by ON clearinghouse.clearing_run (requested_by, recorded_at)
""",
    """
CREATE TABLE clearinghouse.customer_contract (
    contract_id TEXT COLLATE "C" NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE,
    valid_until TIMESTAMP WITH TIME ZONE,
    status TEXT NOT NULL,
    services TEXT[] NOT NULL,
    authorisation TEXT NOT NULL,
    display_name TEXT,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_customer_contract PRIMARY KEY (contract_id),
    CONSTRAINT ck_customer_contract_status CHECK (status IN ('active', 'blocked')),
    CONSTRAINT ck_customer_contract_authorisation CHECK (authorisation IN ('list', 'ask'))
)
""",
    """
CREATE TABLE clearinghouse.dead_letter (
    dead_letter_id BIGINT NOT NULL,
    xid BIGINT NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    cdr_id TEXT COLLATE "C" NOT NULL,
    status INTEGER NOT NULL,
    says TEXT NOT NULL,
    refused_at TIMESTAMP WITH TIME ZONE NOT NULL,
    replays INTEGER NOT NULL,
    replay_requested_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_dead_letter PRIMARY KEY (dead_letter_id)
)
""",
    """
CREATE INDEX ix_dead_letter_of_evsp ON clearinghouse.dead_letter (evsp, dead_letter_id)
""",
    """
CREATE TABLE clearinghouse.delivery (
    delivery_id TEXT NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    after_xid BIGINT NOT NULL,
    after_position BIGINT NOT NULL,
    up_to_xid BIGINT NOT NULL,
    up_to_position BIGINT NOT NULL,
    cdrs INTEGER NOT NULL,
    dead_letter BIGINT,
    attempts INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_error TEXT,
    outcome TEXT,
    delivered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_delivery PRIMARY KEY (delivery_id)
)
""",
    """
CREATE UNIQUE INDEX uq_delivery_under_way ON clearinghouse.delivery (evsp) WHERE outcome IS NULL
""",
    """
CREATE TABLE clearinghouse.evsp_policy (
    evsp TEXT COLLATE "C" NOT NULL,
    on_silence TEXT NOT NULL,
    CONSTRAINT pk_evsp_policy PRIMARY KEY (evsp),
    CONSTRAINT ck_evsp_policy_on_silence CHECK (on_silence IN ('refuse', 'accept'))
)
""",
    """
CREATE TABLE clearinghouse.forwarding (
    evsp TEXT COLLATE "C" NOT NULL,
    xid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    single_xid BIGINT NOT NULL,
    single_position BIGINT NOT NULL,
    holder TEXT NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_forwarding PRIMARY KEY (evsp)
)
""",
    """
CREATE TABLE clearinghouse.ledger_entry (
    entry_id BIGINT GENERATED ALWAYS AS IDENTITY,
    posting_id BIGINT NOT NULL,
    account TEXT NOT NULL,
    party TEXT NOT NULL,
    counterparty TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    operator TEXT NOT NULL,
    cdr_id TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_ledger_entry PRIMARY KEY (entry_id)
)
""",
    """
CREATE INDEX ix_ledger_entry_netting ON clearinghouse.ledger_entry (currency, occurred_at) INCLUDE (party, counterparty, account, amount_minor) WHERE account IN ('charge-receivable', 'vat-receivable')
""",
    """
CREATE INDEX ix_ledger_entry_statement ON clearinghouse.ledger_entry (party, currency, occurred_at, posting_id) WHERE account IN ('charge-receivable', 'charge-payable')
""",
    """
CREATE TABLE gateway.quota (
    contract_id TEXT NOT NULL,
    period TEXT NOT NULL,
    period_start BIGINT NOT NULL,
    used INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    CONSTRAINT pk_quota PRIMARY KEY (contract_id, period)
)
""",
    """
CREATE TABLE gateway.usage (
    request_id TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    contract_id TEXT,
    requester TEXT NOT NULL,
    provider TEXT NOT NULL,
    service TEXT NOT NULL,
    major SMALLINT NOT NULL,
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    status SMALLINT NOT NULL,
    duration_us BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    billable BOOLEAN NOT NULL,
    CONSTRAINT pk_usage PRIMARY KEY (request_id)
)
""",
    """
CREATE INDEX ix_usage_provider_at ON gateway.usage (provider, at)
""",
    """
CREATE INDEX ix_usage_requester_at ON gateway.usage (requester, at)
""",
    """
CREATE TABLE kit.cursor (
    name TEXT NOT NULL,
    xid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT pk_cursor PRIMARY KEY (name)
)
""",
    """
CREATE TABLE kit.event (
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    stream TEXT NOT NULL,
    version BIGINT NOT NULL,
    type TEXT NOT NULL,
    party TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    correlation_id TEXT,
    causation_id TEXT,
    body JSONB NOT NULL,
    hash BYTEA NOT NULL,
    CONSTRAINT pk_event PRIMARY KEY (position),
    CONSTRAINT uq_event_stream_version UNIQUE (stream, version)
)
""",
    """
CREATE INDEX ix_event_xid_position ON kit.event (xid, position)
""",
    """
CREATE TABLE kit.idempotent_answer (
    party TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    status INTEGER,
    media_type TEXT,
    body BYTEA,
    CONSTRAINT pk_idempotent_answer PRIMARY KEY (party, key)
)
""",
    """
CREATE TABLE kit.stream (
    stream TEXT NOT NULL,
    version BIGINT NOT NULL,
    head_hash BYTEA NOT NULL,
    CONSTRAINT pk_stream PRIMARY KEY (stream)
)
""",
    """
CREATE TABLE kit.subject_key (
    subject TEXT NOT NULL,
    name UUID NOT NULL,
    sealed_key BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_subject_key PRIMARY KEY (subject),
    CONSTRAINT uq_subject_key_name UNIQUE (name)
)
""",
    """
CREATE TABLE marketplace.partner (
    party TEXT NOT NULL,
    name TEXT NOT NULL,
    roles TEXT[] NOT NULL,
    status TEXT NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_partner PRIMARY KEY (party)
)
""",
    """
CREATE TABLE marketplace.revoked_token (
    jti TEXT NOT NULL,
    client_id TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_revoked_token PRIMARY KEY (jti)
)
""",
    """
CREATE TABLE marketplace.service (
    name TEXT NOT NULL,
    major INTEGER NOT NULL,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    category TEXT NOT NULL,
    description TEXT NOT NULL,
    endpoint TEXT,
    protocol TEXT NOT NULL,
    documentation TEXT NOT NULL,
    operations JSONB NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_service PRIMARY KEY (name, major)
)
""",
    """
CREATE INDEX ix_service_provider ON marketplace.service (provider)
""",
    """
CREATE TABLE marketplace.signing_key (
    kid TEXT NOT NULL,
    public_jwk JSONB NOT NULL,
    sealed BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    signs_from TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_signing_key PRIMARY KEY (kid)
)
""",
    """
CREATE TABLE marketplace.terms (
    digest BYTEA NOT NULL,
    body JSONB NOT NULL,
    CONSTRAINT pk_terms PRIMARY KEY (digest)
)
""",
    """
CREATE TABLE marketplace.used_assertion (
    client_id TEXT NOT NULL,
    jti TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_used_assertion PRIMARY KEY (client_id, jti)
)
""",
    """
CREATE TABLE search_evse.site (
    operator TEXT NOT NULL,
    site_id TEXT NOT NULL,
    name TEXT,
    operator_name TEXT,
    address TEXT,
    city TEXT,
    postal_code TEXT,
    country TEXT NOT NULL,
    time_zone TEXT,
    latitude DOUBLE PRECISION NOT NULL,
    longitude DOUBLE PRECISION NOT NULL,
    opening TEXT,
    access TEXT,
    last_updated TIMESTAMP WITH TIME ZONE NOT NULL,
    city_key TEXT,
    postal_key TEXT,
    search_text TEXT NOT NULL,
    words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, search_text)) STORED,
    CONSTRAINT pk_site PRIMARY KEY (operator, site_id)
)
""",
    """
CREATE INDEX ix_site_city_key ON search_evse.site (city_key)
""",
    """
CREATE INDEX ix_site_postal_key ON search_evse.site (postal_key text_pattern_ops)
""",
    """
CREATE INDEX ix_site_words ON search_evse.site USING gin (words)
""",
    """
CREATE TABLE clearinghouse.clearing_line (
    run_id TEXT NOT NULL,
    line_no INTEGER NOT NULL,
    kind TEXT NOT NULL,
    party TEXT NOT NULL,
    counterparty TEXT,
    amount_minor BIGINT NOT NULL,
    vat_minor BIGINT,
    cdrs BIGINT,
    CONSTRAINT pk_clearing_line PRIMARY KEY (run_id, line_no),
    CONSTRAINT fk_clearing_line_run_id_clearing_run FOREIGN KEY(run_id) REFERENCES clearinghouse.clearing_run (run_id)
)
""",
    """
CREATE TABLE clearinghouse.customer_token (
    uid TEXT COLLATE "C" NOT NULL,
    contract_id TEXT COLLATE "C" NOT NULL,
    evsp TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_customer_token PRIMARY KEY (uid),
    CONSTRAINT fk_customer_token_contract_id_customer_contract FOREIGN KEY(contract_id) REFERENCES clearinghouse.customer_contract (contract_id)
)
""",
    """
CREATE INDEX ix_customer_token_contract_id ON clearinghouse.customer_token (contract_id)
""",
    """
CREATE TABLE marketplace.client (
    client_id TEXT NOT NULL,
    party TEXT NOT NULL,
    public_keys JSONB,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    tokens_from TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_client PRIMARY KEY (client_id),
    CONSTRAINT fk_client_party_partner FOREIGN KEY(party) REFERENCES marketplace.partner (party)
)
""",
    """
CREATE INDEX ix_client_party ON marketplace.client (party)
""",
    """
CREATE INDEX ix_client_tokens_from ON marketplace.client (tokens_from)
""",
    """
CREATE TABLE marketplace.endpoint (
    party TEXT NOT NULL,
    purpose TEXT NOT NULL,
    url TEXT NOT NULL,
    sealed_headers BYTEA NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_endpoint PRIMARY KEY (party, purpose),
    CONSTRAINT fk_endpoint_party_partner FOREIGN KEY(party) REFERENCES marketplace.partner (party)
)
""",
    """
CREATE TABLE marketplace.offering (
    offering_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    service TEXT NOT NULL,
    major INTEGER NOT NULL,
    terms_digest BYTEA NOT NULL,
    audience TEXT NOT NULL,
    audience_names TEXT[] NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE,
    valid_until TIMESTAMP WITH TIME ZONE,
    status TEXT NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT pk_offering PRIMARY KEY (offering_id),
    CONSTRAINT fk_offering_terms_digest_terms FOREIGN KEY(terms_digest) REFERENCES marketplace.terms (digest)
)
""",
    """
CREATE INDEX ix_offering_audience_names ON marketplace.offering USING gin (audience_names)
""",
    """
CREATE INDEX ix_offering_provider ON marketplace.offering (provider)
""",
    """
CREATE UNIQUE INDEX uq_offering_content_published ON marketplace.offering (content) WHERE status = 'published'
""",
    """
CREATE TABLE search_evse.evse (
    evse_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    site_id TEXT NOT NULL,
    latitude DOUBLE PRECISION NOT NULL,
    longitude DOUBLE PRECISION NOT NULL,
    status TEXT NOT NULL,
    status_at TIMESTAMP WITH TIME ZONE NOT NULL,
    connectors JSONB NOT NULL,
    connector_types TEXT[] NOT NULL,
    max_power_w INTEGER,
    capabilities TEXT[] NOT NULL,
    uid TEXT,
    physical_reference TEXT,
    floor_level TEXT,
    published BOOLEAN NOT NULL,
    last_updated TIMESTAMP WITH TIME ZONE NOT NULL,
    fingerprint BYTEA NOT NULL,
    place point GENERATED ALWAYS AS (point(longitude, degrees(asinh(tan(radians(latitude)))))) STORED,
    findable BOOLEAN GENERATED ALWAYS AS (published AND status <> 'REMOVED') STORED,
    CONSTRAINT pk_evse PRIMARY KEY (evse_id),
    CONSTRAINT fk_evse_operator_site_id_site FOREIGN KEY(operator, site_id) REFERENCES search_evse.site (operator, site_id)
)
 WITH (fillfactor = 85)
""",
    """
CREATE INDEX ix_evse_operator_evse_id ON search_evse.evse (operator, evse_id)
""",
    """
CREATE INDEX ix_evse_operator_site_id ON search_evse.evse (operator, site_id)
""",
    """
CREATE INDEX ix_evse_place ON search_evse.evse USING gist (place) WHERE findable
""",
    """
CREATE INDEX ix_evse_place_fast ON search_evse.evse USING gist (place) WHERE findable AND max_power_w >= 50000
""",
    """
CREATE TABLE marketplace.client_secret (
    secret_id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    client_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_client_secret PRIMARY KEY (secret_id),
    CONSTRAINT fk_client_secret_client_id_client FOREIGN KEY(client_id) REFERENCES marketplace.client (client_id)
)
""",
    """
CREATE INDEX ix_client_secret_client_id ON marketplace.client_secret (client_id)
""",
    """
CREATE TABLE marketplace.contract (
    contract_id TEXT NOT NULL,
    offering_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    requester TEXT NOT NULL,
    service TEXT NOT NULL,
    major INTEGER NOT NULL,
    terms_digest BYTEA NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE,
    history JSONB NOT NULL,
    suspended_by TEXT[] NOT NULL,
    version INTEGER NOT NULL,
    changed_xid BIGINT DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
    CONSTRAINT pk_contract PRIMARY KEY (contract_id),
    CONSTRAINT fk_contract_offering_id_offering FOREIGN KEY(offering_id) REFERENCES marketplace.offering (offering_id),
    CONSTRAINT fk_contract_terms_digest_terms FOREIGN KEY(terms_digest) REFERENCES marketplace.terms (digest)
)
""",
    """
CREATE INDEX ix_contract_changed_xid ON marketplace.contract (changed_xid)
""",
    """
CREATE INDEX ix_contract_offering_id ON marketplace.contract (offering_id)
""",
    """
CREATE INDEX ix_contract_provider ON marketplace.contract (provider, contract_id)
""",
    """
CREATE INDEX ix_contract_requester_provider_service ON marketplace.contract (requester, provider, service)
""",
    r"""
CREATE FUNCTION kit.event_hash(previous bytea, stream text, version bigint, type text, party text,
    occurred_at timestamptz, body jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(previous || convert_to(concat_ws(E'\n', stream, version, type, party,
    extract(epoch FROM occurred_at), body::text), 'UTF8'))
$$
""",
    r"""
CREATE FUNCTION kit.append_events(streams text[], types text[], parties text[],
    occurred timestamptz[], correlations text[], causations text[], bodies text[])
RETURNS TABLE (xid xid8, "position" bigint) LANGUAGE plpgsql AS $$
DECLARE
  current_stream text;
  indexes int[];
  i int;
  head_version bigint;
  head bytea;
  positions bigint[] := array_fill(0::bigint, ARRAY[cardinality(streams)]);
  wrote bigint;
BEGIN
  -- Streams in one order for all writers: two appends never wait for each other in a circle.
  FOR current_stream, indexes IN
    SELECT s, array_agg(n ORDER BY n) FROM unnest(streams) WITH ORDINALITY AS u(s, n)
      GROUP BY s ORDER BY s
  LOOP
    INSERT INTO kit.stream AS t VALUES (current_stream, 0, '\x')
      ON CONFLICT (stream) DO UPDATE SET version = t.version
      RETURNING t.version, t.head_hash INTO head_version, head;
    FOREACH i IN ARRAY indexes LOOP
      head_version := head_version + 1;
      head := kit.event_hash(head, current_stream, head_version, types[i], parties[i], occurred[i],
        bodies[i]::jsonb);
      INSERT INTO kit.event AS e (stream, version, type, party, occurred_at, correlation_id,
          causation_id, body, hash)
        VALUES (current_stream, head_version, types[i], parties[i], occurred[i], correlations[i],
          causations[i], bodies[i]::jsonb, head)
        RETURNING e.position INTO wrote;
      positions[i] := wrote;
    END LOOP;
    UPDATE kit.stream AS t SET version = head_version, head_hash = head
      WHERE t.stream = current_stream;
  END LOOP;
  PERFORM pg_notify('events', '');
  RETURN QUERY SELECT pg_current_xact_id(), p
    FROM unnest(positions) WITH ORDINALITY AS u(p, n) ORDER BY n;
END
$$
""",
    """
CREATE FUNCTION kit.forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kit.event
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.ledger_entry
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE FUNCTION clearinghouse.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  unbalanced bigint;
BEGIN
  SELECT posting_id INTO unbalanced FROM written
    GROUP BY posting_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'posting % does not sum to zero', unbalanced USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER balanced AFTER INSERT ON clearinghouse.ledger_entry
  REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION clearinghouse.refuse_unbalanced()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.clearing_run
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.clearing_line
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
""",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        # Past SQLAlchemy's parameters: a colon in a function body is a colon.
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise RuntimeError("there is nothing before the ground; drop the database instead")
