module.exports = class EventsAndSettings1704067200003 {
  async up(queryRunner) {
    // The foreign key of events comes later, in 1704067200006.
    await queryRunner.query(`CREATE TABLE "events" (
      "id" BIGSERIAL NOT NULL,
      "user_id" bigint,
      "kind" text NOT NULL,
      "payload" jsonb NOT NULL DEFAULT '{}',
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
      CONSTRAINT "events_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(`CREATE INDEX "events_kind_idx" ON "events" ("kind") `);
    await queryRunner.query(`CREATE TABLE "settings" (
      "id" BIGSERIAL NOT NULL,
      "key" text NOT NULL,
      "value" text,
      CONSTRAINT "settings_key_key" UNIQUE ("key"),
      CONSTRAINT "settings_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(`CREATE TABLE "legacy_codes" (
      "id" BIGSERIAL NOT NULL,
      "code" integer NOT NULL,
      "label" character varying(50),
      CONSTRAINT "legacy_codes_pkey" PRIMARY KEY ("id"))`);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP TABLE "legacy_codes"`);
    await queryRunner.query(`DROP TABLE "settings"`);
    await queryRunner.query(`DROP TABLE "events"`);
  }
};
