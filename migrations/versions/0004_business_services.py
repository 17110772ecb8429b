"""Business services, whole: what each capability adds, one list for each."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


ONBOARDING: list[str] = []

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
  head_version bigint;
  head bytea;
  -- Not before its predecessor: of two writers of a stream the later may have begun first.
  place xid8;
  positions bigint[] := array_fill(0::bigint, ARRAY[cardinality(streams)]);
  places xid8[] := array_fill('0'::xid8, ARRAY[cardinality(streams)]);
  wrote bigint;
BEGIN
  -- Streams in one order for all writers: two appends never wait for each other in a circle.
  FOR current_stream, indexes IN
    SELECT s, array_agg(n ORDER BY n) FROM unnest(streams) WITH ORDINALITY AS u(s, n)
      GROUP BY s ORDER BY s
  LOOP
    INSERT INTO kit.stream AS t VALUES (current_stream, 0, '\x', pg_current_xact_id())
      ON CONFLICT (stream) DO UPDATE SET version = t.version
      RETURNING t.version, t.head_hash, greatest(t.head_xid, pg_current_xact_id())
      INTO head_version, head, place;
    FOREACH i IN ARRAY indexes LOOP
      head_version := head_version + 1;
      head := kit.event_hash(head, current_stream, head_version, types[i], parties[i], occurred[i],
        bodies[i]::jsonb, actors[i]);
      INSERT INTO kit.event AS e (xid, stream, version, type, party, occurred_at, correlation_id,
          causation_id, body, hash, actor)
        VALUES (place, current_stream, head_version, types[i], parties[i], occurred[i],
          correlations[i], causations[i], bodies[i]::jsonb, head, actors[i])
        RETURNING e.position INTO wrote;
      positions[i] := wrote;
      places[i] := place;
    END LOOP;
    UPDATE kit.stream AS t SET version = head_version, head_hash = head, head_xid = place
      WHERE t.stream = current_stream;
  END LOOP;
  PERFORM pg_notify('events', '');
  RETURN QUERY SELECT x, p FROM unnest(places, positions) WITH ORDINALITY AS u(x, p, n) ORDER BY n;
END
$$
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

SERVICES: list[str] = []

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
]

ROAMING: list[str] = []

BILLING: list[str] = []

REPORTING: list[str] = [
    "ALTER TABLE gateway.usage ADD COLUMN units BIGINT DEFAULT '1' NOT NULL",
    "ALTER TABLE gateway.usage ADD COLUMN written_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL",
    "CREATE INDEX ix_usage_times ON gateway.usage USING brin (at, written_at) WITH (pages_per_range = 32, autosummarize = on)",
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
