exports.up = (pgm) => {
  pgm.createTable('products', {
    id: 'key',
    sku: { type: 'varchar(50)', notNull: true, unique: true },
    title: { type: 'varchar(100)', notNull: true },
    price: { type: 'numeric(10, 2)', notNull: true },
    attrs: { type: 'jsonb', notNull: true, default: '{}' },
  });
  pgm.createTable('orders', {
    id: 'key',
    user_id: { type: 'bigint', notNull: true, references: 'users' },
    total: { type: 'numeric(12, 2)', notNull: true },
    state: { type: 'text', notNull: true, default: 'new' },
    note: { type: 'text' },
    created_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  pgm.createIndex('orders', 'user_id');
  pgm.createTable('order_items', {
    id: 'key',
    order_id: { type: 'bigint', notNull: true, references: 'orders', onDelete: 'CASCADE' },
    product_id: { type: 'bigint', notNull: true, references: 'products' },
    quantity: { type: 'integer', notNull: true, default: 1 },
  });
  pgm.addConstraint('order_items', 'order_items_quantity_check', { check: 'quantity > 0' });
  pgm.createIndex('order_items', 'order_id');
  pgm.createIndex('order_items', 'product_id');
};

exports.down = (pgm) => {
  pgm.dropTable('order_items');
  pgm.dropTable('orders');
  pgm.dropTable('products');
};
