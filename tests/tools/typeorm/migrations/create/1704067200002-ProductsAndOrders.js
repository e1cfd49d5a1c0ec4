const { Table, TableCheck } = require('typeorm');

// By the schema API, which reads the catalogs before most of what it does.
const id = { name: 'id', type: 'bigint', isPrimary: true, isGenerated: true, generationStrategy: 'increment' };
const createdAt = { name: 'created_at', type: 'timestamptz', default: 'now()' };

function reference(table, column, target, onDelete = 'NO ACTION') {
  return {
    name: `${table}_${column}_fkey`,
    columnNames: [column],
    referencedTableName: target,
    referencedColumnNames: ['id'],
    onDelete,
  };
}

module.exports = class ProductsAndOrders1704067200002 {
  async up(queryRunner) {
    await queryRunner.createTable(new Table({
      name: 'products',
      columns: [
        id,
        { name: 'sku', type: 'varchar', length: '50' },
        { name: 'title', type: 'varchar', length: '100' },
        { name: 'price', type: 'numeric', precision: 10, scale: 2 },
        { name: 'attrs', type: 'jsonb', default: "'{}'" },
      ],
      uniques: [{ name: 'products_sku_key', columnNames: ['sku'] }],
    }));
    await queryRunner.createTable(new Table({
      name: 'orders',
      columns: [
        id,
        { name: 'user_id', type: 'bigint' },
        { name: 'total', type: 'numeric', precision: 12, scale: 2 },
        { name: 'state', type: 'text', default: "'new'" },
        { name: 'note', type: 'text', isNullable: true },
        createdAt,
      ],
      indices: [{ name: 'orders_user_id_idx', columnNames: ['user_id'] }],
      foreignKeys: [reference('orders', 'user_id', 'users')],
    }));
    await queryRunner.createTable(new Table({
      name: 'order_items',
      columns: [
        id,
        { name: 'order_id', type: 'bigint' },
        { name: 'product_id', type: 'bigint' },
        { name: 'quantity', type: 'integer', default: 1 },
      ],
      indices: [
        { name: 'order_items_order_id_idx', columnNames: ['order_id'] },
        { name: 'order_items_product_id_idx', columnNames: ['product_id'] },
      ],
      foreignKeys: [
        reference('order_items', 'order_id', 'orders', 'CASCADE'),
        reference('order_items', 'product_id', 'products'),
      ],
    }));
    await queryRunner.createCheckConstraint(
      'order_items',
      new TableCheck({ name: 'order_items_quantity_check', expression: 'quantity > 0' }),
    );
  }

  async down(queryRunner) {
    await queryRunner.dropTable('order_items');
    await queryRunner.dropTable('orders');
    await queryRunner.dropTable('products');
  }
};
