-- no-transaction
ALTER TYPE order_priority ADD VALUE IF NOT EXISTS 'urgent';
