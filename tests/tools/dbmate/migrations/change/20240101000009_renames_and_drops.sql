-- migrate:up
ALTER TABLE orders RENAME COLUMN note TO remark;
ALTER TABLE legacy_codes RENAME TO codes;
ALTER TABLE events DROP COLUMN payload;
DROP INDEX events_kind_idx;
ALTER TABLE order_items DROP CONSTRAINT order_items_quantity_check;

-- migrate:down
ALTER TABLE order_items ADD CONSTRAINT order_items_quantity_check CHECK (quantity > 0);
CREATE INDEX events_kind_idx ON events (kind);
ALTER TABLE events ADD COLUMN payload jsonb NOT NULL DEFAULT '{}';
ALTER TABLE codes RENAME TO legacy_codes;
ALTER TABLE orders RENAME COLUMN remark TO note;
