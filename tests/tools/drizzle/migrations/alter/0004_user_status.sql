-- Custom SQL migration file, put your code below! --
UPDATE "users" SET "status" = 'restricted' WHERE "age" < 18;
-- No breakpoint in front of this one: both go in one string.
UPDATE "users" SET "phone" = 'unlisted' WHERE "status" = 'restricted';
