CREATE TABLE events (id bigint, at date);
CREATE INDEX events_id_idx ON events (id);
