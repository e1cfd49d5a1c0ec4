const { TableCheck, TableForeignKey, TableIndex, TableUnique } = require('typeorm');

module.exports = class ConstraintsAndIndexes1704067200006 {
  async up(queryRunner) {
    await queryRunner.createIndex('users', new TableIndex({ name: 'users_name_idx', columnNames: ['name'] }));
    await queryRunner.createUniqueConstraint(
      'users',
      new TableUnique({ name: 'users_email_key', columnNames: ['email'] }),
    );
    // The schema API has no indexes on expressions.
    await queryRunner.query(`CREATE INDEX "users_lower_email_idx" ON "users" (lower("email"))`);
    await queryRunner.createIndex(
      'orders',
      new TableIndex({ name: 'orders_new_idx', columnNames: ['created_at'], where: "state = 'new'" }),
    );
    await queryRunner.createIndex(
      'legacy_codes',
      new TableIndex({ name: 'legacy_codes_code_key', columnNames: ['code'], isUnique: true }),
    );
    await queryRunner.createCheckConstraint(
      'orders',
      new TableCheck({ name: 'orders_total_check', expression: 'total >= 0' }),
    );
    await queryRunner.createForeignKey(
      'events',
      new TableForeignKey({
        name: 'events_user_id_fkey',
        columnNames: ['user_id'],
        referencedTableName: 'users',
        referencedColumnNames: ['id'],
      }),
    );
  }

  async down(queryRunner) {
    await queryRunner.dropForeignKey('events', 'events_user_id_fkey');
    await queryRunner.dropCheckConstraint('orders', 'orders_total_check');
    await queryRunner.dropIndex('legacy_codes', 'legacy_codes_code_key');
    await queryRunner.dropIndex('orders', 'orders_new_idx');
    await queryRunner.query(`DROP INDEX "users_lower_email_idx"`);
    await queryRunner.dropUniqueConstraint('users', 'users_email_key');
    await queryRunner.dropIndex('users', 'users_name_idx');
  }
};
