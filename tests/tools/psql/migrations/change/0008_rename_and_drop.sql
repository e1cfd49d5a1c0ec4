ALTER TABLE legacy_codes RENAME COLUMN label TO caption;
ALTER TABLE legacy_codes RENAME TO codes;
ALTER SEQUENCE legacy_codes_id_seq RENAME TO codes_id_seq;

ALTER TABLE orders DROP COLUMN note;
DROP INDEX users_lower_email_idx, users_name_idx;
ALTER TABLE users ALTER COLUMN status SET DEFAULT 'invited';
ALTER TABLE users ALTER COLUMN locale DROP DEFAULT;
ALTER TABLE products DROP CONSTRAINT products_price_check;

INSERT INTO schema_history (version) VALUES ('0008');
