-- migrate:up
ALTER TABLE users
    ADD COLUMN phone varchar(20),
    ADD COLUMN locale text DEFAULT 'en';
ALTER TABLE users ADD COLUMN status varchar(20) NOT NULL DEFAULT 'active';
ALTER TABLE orders ADD COLUMN currency varchar(3) NOT NULL DEFAULT 'EUR';
ALTER TABLE users ALTER COLUMN name SET NOT NULL;

-- migrate:down
ALTER TABLE users ALTER COLUMN name DROP NOT NULL;
ALTER TABLE orders DROP COLUMN currency;
ALTER TABLE users DROP COLUMN status, DROP COLUMN locale, DROP COLUMN phone;
