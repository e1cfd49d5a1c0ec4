-- transactional: false
-- depends: 0009.swap-settings

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_total_ix ON orders (total);
CREATE INDEX CONCURRENTLY events_kind_ix ON events (kind, created_at DESC);
DROP INDEX CONCURRENTLY orders_open_ix;
