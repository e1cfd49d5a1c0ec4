const { TableCheck, TableColumn, TableIndex } = require('typeorm');

module.exports = class RenamesAndDrops1704067200009 {
  async up(queryRunner) {
    await queryRunner.renameColumn('orders', 'note', 'remark');
    // Renames the sequence too.
    await queryRunner.renameTable('legacy_codes', 'codes');
    await queryRunner.dropIndex('events', 'events_kind_idx');
    await queryRunner.dropColumn('events', 'payload');
    await queryRunner.dropCheckConstraint('order_items', 'order_items_quantity_check');
  }

  async down(queryRunner) {
    await queryRunner.createCheckConstraint(
      'order_items',
      new TableCheck({ name: 'order_items_quantity_check', expression: 'quantity > 0' }),
    );
    await queryRunner.addColumn('events', new TableColumn({ name: 'payload', type: 'jsonb', default: "'{}'" }));
    await queryRunner.createIndex('events', new TableIndex({ name: 'events_kind_idx', columnNames: ['kind'] }));
    await queryRunner.renameTable('codes', 'legacy_codes');
    await queryRunner.renameColumn('orders', 'remark', 'note');
  }
};
