-- No rewrite by the first two: the old values fit as they are. The third rewrites the table and its indexes.
ALTER TABLE "users" ALTER COLUMN "name" SET DATA TYPE varchar(100);--> statement-breakpoint
ALTER TABLE "products" ALTER COLUMN "title" SET DATA TYPE text;--> statement-breakpoint
ALTER TABLE "legacy_codes" ALTER COLUMN "code" SET DATA TYPE bigint;--> statement-breakpoint
ALTER TABLE "orders" ALTER COLUMN "state" SET DEFAULT 'open';
