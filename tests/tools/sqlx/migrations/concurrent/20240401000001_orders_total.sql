-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_orders_total ON orders (total);
