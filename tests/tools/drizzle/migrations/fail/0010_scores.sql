ALTER TABLE "users" ADD COLUMN "score" integer;--> statement-breakpoint
CREATE INDEX "users_score_idx" ON "users" USING btree ("score");--> statement-breakpoint
-- There is no column "level".
CREATE INDEX "users_status_level_idx" ON "users" USING btree ("status", "level");
