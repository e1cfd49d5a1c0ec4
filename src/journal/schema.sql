-- Version 1. Later versions are added to MIGRATIONS of src/journal/statements.rs, and never changed.
CREATE SCHEMA lockkeeper;

-- A row for each schema change, in the order of the queue.
CREATE TABLE lockkeeper.plan (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- The fencing number: who holds an older one has lost the plan.
  claim bigint NOT NULL DEFAULT 1,
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
CREATE INDEX audit_log_relations ON lockkeeper.audit_log USING gin ((relations[3:]))
  WHERE pg_catalog.cardinality(relations) > 2;
CREATE INDEX audit_log_user ON lockkeeper.audit_log ((event ->> 'user'), at);
CREATE INDEX audit_log_outcome ON lockkeeper.audit_log (outcome, at);
