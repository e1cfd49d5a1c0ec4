-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY orders_shipped_at_idx ON orders (shipped_at);

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY orders_shipped_at_idx;
