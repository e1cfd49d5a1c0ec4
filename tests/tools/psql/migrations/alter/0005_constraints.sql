\echo constraints

CREATE INDEX users_name_idx ON users (name);
CREATE INDEX users_lower_email_idx ON users (lower(email));
CREATE INDEX orders_open_idx ON orders (created_at) WHERE state <> 'closed';

ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
CREATE UNIQUE INDEX products_sku_key ON products (sku);
-- Of an index that is made in the same transaction.
CREATE UNIQUE INDEX settings_key_key ON settings (key);
ALTER TABLE settings ADD CONSTRAINT settings_key_key UNIQUE USING INDEX settings_key_key;

CREATE INDEX events_user_id_idx ON events (user_id);
ALTER TABLE events ADD CONSTRAINT events_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE SET NULL;

ALTER TABLE orders ADD CONSTRAINT orders_total_check CHECK (total >= 0);
ALTER TABLE products ADD CONSTRAINT products_price_check CHECK (price >= 0);

INSERT INTO schema_history (version) VALUES ('0005');
