-- Add migration script here

ALTER TABLE users ADD COLUMN phone VARCHAR(20);
ALTER TABLE users ADD COLUMN locale TEXT DEFAULT 'en';
ALTER TABLE users ADD COLUMN status TEXT NOT NULL DEFAULT 'active';

-- A value for everyone first, those to come included; only then can it be asked for.
ALTER TABLE users ADD COLUMN display_name TEXT;
ALTER TABLE users ALTER COLUMN display_name SET DEFAULT '';
UPDATE users SET display_name = COALESCE(name, split_part(email, '@', 1));
ALTER TABLE users ALTER COLUMN display_name SET NOT NULL;
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
