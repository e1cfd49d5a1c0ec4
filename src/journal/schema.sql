-- Version 1. Later versions are added to MIGRATIONS of src/journal/statements.rs, and never changed.
CREATE SCHEMA lockkeeper;

-- A row for each schema change, in the order of the queue.
CREATE TABLE lockkeeper.plan (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- The fencing number: who holds an older one has lost the plan. It begins anywhere, so that a plan of a journal that
  -- was dropped meanwhile, or of a backup of it, isn't taken for the one that has its number now.
  claim bigint NOT NULL DEFAULT floor(pg_catalog.random() * 1000000000000)::bigint,
  heartbeat timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  -- The relations that it queues for: OID of the database << 32 | OID.
  keys bigint[] NOT NULL,
  -- Its place among those that want their database's one online build.
  slot bigint,
  audit bigint,
  ended timestamptz,
  plan jsonb NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX plan_open ON lockkeeper.plan (id) WHERE ended IS NULL;
CREATE INDEX plan_ended ON lockkeeper.plan (ended) WHERE ended IS NOT NULL;
CREATE SEQUENCE lockkeeper.slot;

-- A row for each schema change that was attempted.
CREATE TABLE lockkeeper.audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  -- Null while it runs.
  outcome text,
  -- Of each relation its name, and then the name without its schema.
  relations text[] NOT NULL,
  event jsonb NOT NULL
);
CREATE INDEX audit_log_at ON lockkeeper.audit_log (at);
CREATE INDEX audit_log_qualified ON lockkeeper.audit_log ((relations[1]), at);
CREATE INDEX audit_log_name ON lockkeeper.audit_log ((relations[2]), at);
CREATE INDEX audit_log_user ON lockkeeper.audit_log ((event ->> 'user'), at);
CREATE INDEX audit_log_outcome ON lockkeeper.audit_log (outcome, at);

-- What else an event is found by: the names of its other relations, as in audit_log.relations.
CREATE TABLE lockkeeper.audit_relation (
  audit bigint NOT NULL REFERENCES lockkeeper.audit_log ON DELETE CASCADE,
  name text NOT NULL,
  -- That of the event.
  at timestamptz NOT NULL,
  PRIMARY KEY (audit, name)
);
CREATE INDEX audit_relation_name ON lockkeeper.audit_relation (name, at, audit);
