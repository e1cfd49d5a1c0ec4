-- Settings get an owner: a new table takes the place of the old one.
CREATE TABLE settings_new (LIKE settings INCLUDING DEFAULTS);
ALTER TABLE settings_new ADD COLUMN account_id BIGINT REFERENCES accounts (id), ADD PRIMARY KEY (id);
INSERT INTO settings_new (id, key, value) SELECT id, key, value FROM settings;
CREATE UNIQUE INDEX idx_settings_account_key ON settings_new (account_id, key);

ALTER TABLE settings RENAME TO settings_old;
ALTER TABLE settings_new RENAME TO settings;
-- The sequence goes with it, or it would go with the old table one day.
ALTER SEQUENCE settings_id_seq OWNED BY settings.id;
