CREATE TABLE addresses (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    country CHAR(2) NOT NULL,
    line TEXT NOT NULL
);

UPDATE users SET status = 'minor', locale = NULL WHERE age < 18;
INSERT INTO addresses (user_id, country, line)
SELECT id, COALESCE(locale, 'de'), display_name FROM users WHERE status <> 'minor';

CREATE INDEX idx_addresses_user_id ON addresses (user_id);
CREATE VIEW adults AS SELECT u.id, u.display_name, a.country FROM users u JOIN addresses a ON a.user_id = u.id;
