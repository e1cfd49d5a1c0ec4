module.exports = class ShippedAtIndex1704067200012 {
  transaction = false;

  async up(queryRunner) {
    await queryRunner.query(`CREATE INDEX CONCURRENTLY "orders_shipped_at_idx" ON "orders" ("shipped_at")`);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP INDEX CONCURRENTLY "orders_shipped_at_idx"`);
  }
};
