-- The tables that the rules' examples speak of.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN email AS text;
CREATE TABLE users (
  id bigint PRIMARY KEY, name text, nickname text, email text, age int, visits int, active boolean,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_id_idx ON users (id);
CREATE TABLE orders (
  id bigint PRIMARY KEY, user_id bigint, total numeric(10, 2), status text, created_at timestamptz
);
CREATE INDEX orders_user_id_idx ON orders (user_id);
CREATE TABLE bookings (id bigint PRIMARY KEY, room int, during tsrange);
CREATE TABLE events (id bigint, user_id bigint, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2023 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE TABLE events_2025 (id bigint, user_id bigint, at date NOT NULL);
CREATE VIEW active_users AS SELECT id, name FROM users WHERE active;
CREATE MATERIALIZED VIEW sales_by_day AS SELECT date_trunc('day', created_at) AS day, sum(total) FROM orders GROUP BY 1;
CREATE UNIQUE INDEX sales_by_day_day_idx ON sales_by_day (day);
CREATE TABLE sessions (id bigint, token text);
CREATE UNIQUE INDEX sessions_id_idx ON sessions (id);
CREATE TABLE order_items (id bigint PRIMARY KEY, order_id bigint REFERENCES orders);
