module.exports = class ShippedAt1704067200011 {
  async up(queryRunner) {
    await queryRunner.query(`ALTER TABLE "orders" ADD "shipped_at" TIMESTAMP WITH TIME ZONE`);
  }

  async down(queryRunner) {
    await queryRunner.query(`ALTER TABLE "orders" DROP COLUMN "shipped_at"`);
  }
};
