-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_total_idx ON orders (total);
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_kind_created_at_idx ON events (kind, created_at DESC);
DROP INDEX CONCURRENTLY IF EXISTS orders_open_idx;

ALTER TABLE order_items ADD CONSTRAINT order_items_quantity_check CHECK (quantity > 0) NOT VALID;
ALTER TABLE order_items VALIDATE CONSTRAINT order_items_quantity_check;

INSERT INTO schema_history (version) VALUES ('0010');
