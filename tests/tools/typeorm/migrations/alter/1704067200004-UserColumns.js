const { TableColumn } = require('typeorm');

module.exports = class UserColumns1704067200004 {
  async up(queryRunner) {
    await queryRunner.addColumns('users', [
      new TableColumn({ name: 'phone', type: 'varchar', length: '20', isNullable: true }),
      new TableColumn({ name: 'locale', type: 'text', isNullable: true, default: "'en'" }),
      new TableColumn({ name: 'status', type: 'varchar', length: '20', default: "'active'" }),
    ]);
    await queryRunner.addColumn(
      'orders',
      new TableColumn({ name: 'currency', type: 'varchar', length: '3', default: "'EUR'" }),
    );
    await queryRunner.query(`ALTER TABLE "users" ALTER COLUMN "name" SET NOT NULL`);
  }

  async down(queryRunner) {
    await queryRunner.query(`ALTER TABLE "users" ALTER COLUMN "name" DROP NOT NULL`);
    await queryRunner.dropColumn('orders', 'currency');
    await queryRunner.dropColumns('users', ['status', 'locale', 'phone']);
  }
};
