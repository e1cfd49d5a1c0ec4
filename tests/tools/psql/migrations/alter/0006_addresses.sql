\echo addresses

CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL);
COPY countries (code, name) FROM stdin;
at	Österreich
de	Deutschland
gb	United Kingdom; not England
\.

CREATE TABLE addresses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    country char(2) NOT NULL REFERENCES countries,
    line text NOT NULL DEFAULT ''
);

UPDATE users SET status = 'minor', locale = 'de' WHERE age < 18;
INSERT INTO addresses (user_id, country, line)
SELECT id, CASE locale WHEN 'en' THEN 'gb' ELSE 'de' END, coalesce(phone, name) FROM users WHERE status <> 'minor';
CREATE INDEX addresses_user_id_idx ON addresses (user_id);

INSERT INTO schema_history (version) VALUES ('0006');
