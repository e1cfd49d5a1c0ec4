-- What users did, and odds and ends
-- depends: 0001.customers

CREATE TABLE events (
    id bigserial PRIMARY KEY,
    user_id bigint,
    kind text NOT NULL,
    payload jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE settings (id serial PRIMARY KEY, key text NOT NULL, value text);
CREATE TABLE legacy_codes (id serial PRIMARY KEY, code integer NOT NULL, label text);
