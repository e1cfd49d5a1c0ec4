-- Settings get an owner: a new table takes the place of the old one
-- depends: 0008.rename-and-drop

CREATE TABLE settings_new (
    id bigserial CONSTRAINT settings_new_pk PRIMARY KEY,
    account_id bigint CONSTRAINT settings_new_account_fk REFERENCES accounts (id),
    key text NOT NULL,
    value text,
    CONSTRAINT settings_new_key_uq UNIQUE (account_id, key)
);

INSERT INTO settings_new (id, key, value) SELECT id, key, value FROM settings ORDER BY id;

-- yoyo prints what a query returns.
SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM settings_new), false);

ALTER TABLE settings RENAME TO settings_old;
ALTER TABLE settings_new RENAME TO settings;
