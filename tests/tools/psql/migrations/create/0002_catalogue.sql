CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku varchar(50) NOT NULL,
    title varchar(100) NOT NULL,
    price numeric(10, 2) NOT NULL,
    attrs jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE settings (id serial PRIMARY KEY, key text NOT NULL, value text);
CREATE TABLE legacy_codes (id serial PRIMARY KEY, code int NOT NULL, label text);

INSERT INTO schema_history (version) VALUES ('0002');
