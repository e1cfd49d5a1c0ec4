// Plain SQL for the types: changeColumn() would drop the column and add it anew, empty.
module.exports = class TypesAndDefaults1704067200008 {
  async up(queryRunner) {
    // No rewrite: the old values fit as they are.
    await queryRunner.query(`ALTER TABLE "users" ALTER COLUMN "name" TYPE character varying(100)`);
    await queryRunner.query(`ALTER TABLE "products" ALTER COLUMN "title" TYPE text`);
    // A rewrite of the table and its indexes.
    await queryRunner.query(`ALTER TABLE "legacy_codes" ALTER COLUMN "code" TYPE bigint`);
    await this.setDefault(queryRunner, "'open'");
  }

  async down(queryRunner) {
    await this.setDefault(queryRunner, "'new'");
    await queryRunner.query(`ALTER TABLE "legacy_codes" ALTER COLUMN "code" TYPE integer`);
    await queryRunner.query(`ALTER TABLE "products" ALTER COLUMN "title" TYPE character varying(100)`);
    await queryRunner.query(`ALTER TABLE "users" ALTER COLUMN "name" TYPE character varying(50)`);
  }

  async setDefault(queryRunner, value) {
    const orders = await queryRunner.getTable('orders');
    const state = orders.findColumnByName('state').clone();
    state.default = value;
    await queryRunner.changeColumn('orders', 'state', state);
  }
};
