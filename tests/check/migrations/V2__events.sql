CREATE TABLE events (id bigint, at date) PARTITION BY RANGE (at);
CREATE INDEX events_id_idx ON events (id);
