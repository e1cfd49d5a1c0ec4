CREATE UNIQUE INDEX users_name_key ON users (name);

INSERT INTO schema_history (version) VALUES ('0012');
