CREATE INDEX users_email_idx ON users (email);
ALTER TABEL users ADD COLUMN a int;
CREATE INDEX users_name_idx ON users (name)
