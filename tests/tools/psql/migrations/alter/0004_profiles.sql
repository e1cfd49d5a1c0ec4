\echo profiles

ALTER TABLE users ADD COLUMN phone varchar(20);
ALTER TABLE users
    ADD COLUMN locale text DEFAULT 'en',
    ADD COLUMN status text NOT NULL DEFAULT 'active',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT '2024-01-01 00:00:00+00';

-- Whether there are names to make up, psql decides by itself.
SELECT count(*) > 0 AS nameless FROM users WHERE name IS NULL \gset
\if :nameless
UPDATE users SET name = split_part(email, '@', 1) WHERE name IS NULL;
\endif
ALTER TABLE users ALTER COLUMN name SET NOT NULL;

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.updated_at := now();  -- a ; in a body
    RETURN NEW;
END
$body$;
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();

INSERT INTO schema_history (version) VALUES ('0004');
