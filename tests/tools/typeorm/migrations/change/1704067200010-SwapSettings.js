module.exports = class SwapSettings1704067200010 {
  async up(queryRunner) {
    await queryRunner.query(`CREATE TABLE "settings_new" (
      "id" BIGSERIAL NOT NULL,
      "key" text NOT NULL,
      "value" text NOT NULL DEFAULT '',
      "updated_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
      CONSTRAINT "settings_new_key_key" UNIQUE ("key"),
      CONSTRAINT "settings_new_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(
      `INSERT INTO "settings_new" ("id", "key", "value") SELECT "id", "key", coalesce("value", '') FROM "settings"`,
    );
    await queryRunner.query(
      `SELECT setval('settings_new_id_seq', (SELECT coalesce(max("id"), 1) FROM "settings_new"))`,
    );
    await queryRunner.query(`ALTER TABLE "settings" RENAME TO "settings_old"`);
    await queryRunner.query(`ALTER TABLE "settings_new" RENAME TO "settings"`);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP TABLE "settings"`);
    await queryRunner.query(`ALTER TABLE "settings_old" RENAME TO "settings"`);
  }
};
