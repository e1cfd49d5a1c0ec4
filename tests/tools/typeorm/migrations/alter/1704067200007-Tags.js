module.exports = class Tags1704067200007 {
  async up(queryRunner) {
    await queryRunner.query(`CREATE TABLE "tags" (
      "id" BIGSERIAL NOT NULL,
      "user_id" bigint NOT NULL,
      "name" text NOT NULL,
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
      CONSTRAINT "tags_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(`ALTER TABLE "tags" ADD CONSTRAINT "tags_user_id_fkey"
      FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE NO ACTION ON UPDATE NO ACTION`);
    await queryRunner.query(
      `INSERT INTO "tags" ("user_id", "name") SELECT "id", "status" FROM "users" WHERE "status" <> $1 ORDER BY "id"`,
      ['active'],
    );
    await queryRunner.query(`CREATE INDEX "tags_user_id_idx" ON "tags" ("user_id") `);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP TABLE "tags"`);
  }
};
