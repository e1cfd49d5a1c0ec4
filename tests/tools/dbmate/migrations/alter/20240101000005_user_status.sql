-- migrate:up
UPDATE users SET status = 'restricted' WHERE age < 18;

-- A string in which the semicolons end nothing.
DO $$
BEGIN
    UPDATE users SET phone = 'unlisted; ask' WHERE status = 'restricted';
END;
$$;

-- migrate:down
