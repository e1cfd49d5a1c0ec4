module.exports = class Scores1704067200013 {
  async up(queryRunner) {
    await queryRunner.query(`ALTER TABLE "users" ADD "score" integer`);
    await queryRunner.query(`CREATE INDEX "users_score_idx" ON "users" ("score") `);
    // There is no column `level`.
    await queryRunner.query(`CREATE INDEX "users_status_level_idx" ON "users" ("status", "level") `);
  }

  async down(queryRunner) {
    await queryRunner.query(`ALTER TABLE "users" DROP COLUMN "score"`);
  }
};
