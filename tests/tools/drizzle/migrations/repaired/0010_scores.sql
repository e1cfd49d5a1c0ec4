ALTER TABLE "users" ADD COLUMN "score" integer;--> statement-breakpoint
CREATE INDEX "users_score_idx" ON "users" USING btree ("score");--> statement-breakpoint
CREATE INDEX "users_status_score_idx" ON "users" USING btree ("status", "score");
