-- migrate:up
CREATE INDEX users_name_idx ON users (name);
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
CREATE INDEX users_lower_email_idx ON users (lower(email));
CREATE INDEX orders_new_idx ON orders (created_at) WHERE state = 'new';
CREATE UNIQUE INDEX legacy_codes_code_key ON legacy_codes (code);
ALTER TABLE orders ADD CONSTRAINT orders_total_check CHECK (total >= 0);
ALTER TABLE events ADD CONSTRAINT events_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id);

-- migrate:down
ALTER TABLE events DROP CONSTRAINT events_user_id_fkey;
ALTER TABLE orders DROP CONSTRAINT orders_total_check;
DROP INDEX legacy_codes_code_key, orders_new_idx, users_lower_email_idx;
ALTER TABLE users DROP CONSTRAINT users_email_key;
DROP INDEX users_name_idx;
