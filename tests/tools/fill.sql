-- Fills the tables of the phase `create`, which must be empty and never have been filled: ids are taken to
-- start at 1. How many rows each table gets is the variable `rows`, an even number:
--   psql -v rows=1000 -f fill.sql
-- The same rows every time. Every user's name is there twice (phase `duplicates`); whatever becomes unique in
-- another phase is unique.
\set ON_ERROR_STOP on
\set QUIET on

INSERT INTO accounts (name, email)
    SELECT 'Account ' || i, 'account' || i || '@example.com' FROM generate_series(1, :rows) AS i;

INSERT INTO users (account_id, email, name, age)
    SELECT 1 + i % :rows, 'User' || i || '@example.com', 'Name ' || (i + 1) / 2, 15 + i % 60
    FROM generate_series(1, :rows) AS i;

INSERT INTO products (sku, title, price)
    SELECT 'SKU-' || i, 'Product ' || i, 1 + i % 1000 + 0.99 FROM generate_series(1, :rows) AS i;

INSERT INTO orders (user_id, total, state)
    SELECT 1 + i * 7 % :rows, i % 500 + 0.5, (ARRAY['new', 'paid', 'sent', 'closed'])[1 + i % 4]
    FROM generate_series(1, :rows) AS i;

INSERT INTO order_items (order_id, product_id, quantity)
    SELECT i, 1 + i * 3 % :rows, 1 + i % 5 FROM generate_series(1, :rows) AS i;

INSERT INTO events (user_id, kind)
    SELECT 1 + i % :rows, (ARRAY['login', 'view', 'buy'])[1 + i % 3] FROM generate_series(1, :rows) AS i;

INSERT INTO settings (key, value)
    SELECT 'setting.' || i, 'value ' || i FROM generate_series(1, :rows) AS i;

INSERT INTO legacy_codes (code, label)
    SELECT 1000 + i, 'Code ' || i FROM generate_series(1, :rows) AS i;
