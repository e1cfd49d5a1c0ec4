-- no-transaction
CREATE INDEX CONCURRENTLY idx_events_kind ON events (kind, created_at DESC) INCLUDE (user_id);
