CREATE INDEX idx_users_status ON users (status);
CREATE INDEX idx_users_lower_email ON users (LOWER(email));
CREATE INDEX idx_orders_open ON orders (created_at) WHERE state <> 'closed';
CREATE INDEX idx_events_user_id ON events (user_id);

ALTER TABLE users ADD CONSTRAINT users_email_unique UNIQUE (email);
ALTER TABLE settings ADD CONSTRAINT settings_key_unique UNIQUE (key);
CREATE UNIQUE INDEX idx_products_sku ON products (sku);

ALTER TABLE events
    ADD CONSTRAINT events_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE orders ADD CONSTRAINT orders_total_not_negative CHECK (total >= 0);
ALTER TABLE products ADD CONSTRAINT products_price_not_negative CHECK (price >= 0);
