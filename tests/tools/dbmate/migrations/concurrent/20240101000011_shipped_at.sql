-- migrate:up
ALTER TABLE orders ADD COLUMN shipped_at timestamptz;

-- migrate:down
ALTER TABLE orders DROP COLUMN shipped_at;
