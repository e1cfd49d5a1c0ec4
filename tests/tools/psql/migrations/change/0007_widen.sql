SET LOCAL statement_timeout = '10min';

ALTER TABLE users ALTER COLUMN email TYPE varchar(100);
ALTER TABLE accounts ALTER COLUMN name TYPE text, ALTER COLUMN email TYPE text;
-- A rewrite.
ALTER TABLE legacy_codes ALTER COLUMN code TYPE bigint;

INSERT INTO schema_history (version) VALUES ('0007');
