-- Indexes and constraints on filled tables
-- depends: 0002.orders 0003.events 0004.user-profiles

CREATE INDEX users_name_ix ON users (name);
CREATE INDEX users_lower_email_ix ON users (lower(email));
CREATE INDEX orders_open_ix ON orders (created_at) WHERE state <> 'closed';
CREATE INDEX events_user_ix ON events (user_id);

ALTER TABLE users ADD CONSTRAINT users_email_uq UNIQUE (email);
ALTER TABLE settings ADD CONSTRAINT settings_key_uq UNIQUE (key);
CREATE UNIQUE INDEX products_sku_uq ON products (sku);

ALTER TABLE events ADD CONSTRAINT events_user_fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL;
ALTER TABLE orders ADD CONSTRAINT orders_total_ck CHECK (total >= 0);
ALTER TABLE products ADD CONSTRAINT products_price_ck CHECK (price >= 0);
