ALTER TABLE "legacy_codes" RENAME TO "codes";--> statement-breakpoint
ALTER TABLE "orders" RENAME COLUMN "note" TO "remark";--> statement-breakpoint
ALTER TABLE "order_items" DROP CONSTRAINT "order_items_quantity_check";--> statement-breakpoint
DROP INDEX "events_kind_idx";--> statement-breakpoint
ALTER TABLE "events" DROP COLUMN "payload";
