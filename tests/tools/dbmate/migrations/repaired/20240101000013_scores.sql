-- migrate:up
ALTER TABLE users ADD COLUMN score integer;
CREATE INDEX users_score_idx ON users (score);
CREATE INDEX users_status_score_idx ON users (status, score);

-- migrate:down
ALTER TABLE users DROP COLUMN score;
