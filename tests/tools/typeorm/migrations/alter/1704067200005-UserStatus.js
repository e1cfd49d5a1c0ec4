module.exports = class UserStatus1704067200005 {
  async up(queryRunner) {
    await queryRunner.query(`UPDATE "users" SET "status" = 'restricted' WHERE "age" < 18`);
    await queryRunner.manager
      .createQueryBuilder()
      .update('users')
      .set({ phone: 'unlisted' })
      .where('status = :status', { status: 'restricted' })
      .execute();
  }

  async down() {}
};
