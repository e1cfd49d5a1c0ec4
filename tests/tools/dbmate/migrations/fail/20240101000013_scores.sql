-- migrate:up
ALTER TABLE users ADD COLUMN score integer;
CREATE INDEX users_score_idx ON users (score);
-- There is no column `level`.
CREATE INDEX users_status_level_idx ON users (status, level);

-- migrate:down
ALTER TABLE users DROP COLUMN score;
