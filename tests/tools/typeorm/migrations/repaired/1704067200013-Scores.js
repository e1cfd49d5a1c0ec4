module.exports = class Scores1704067200013 {
  async up(queryRunner) {
    await queryRunner.query(`ALTER TABLE "users" ADD "score" integer`);
    await queryRunner.query(`CREATE INDEX "users_score_idx" ON "users" ("score") `);
    await queryRunner.query(`CREATE INDEX "users_status_score_idx" ON "users" ("status", "score") `);
  }

  async down(queryRunner) {
    await queryRunner.query(`ALTER TABLE "users" DROP COLUMN "score"`);
  }
};
