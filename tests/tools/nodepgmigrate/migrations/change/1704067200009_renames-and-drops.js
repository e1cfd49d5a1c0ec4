exports.up = (pgm) => {
  pgm.renameColumn('orders', 'note', 'remark');
  pgm.renameTable('legacy_codes', 'codes');
  pgm.dropColumn('events', 'payload');
  pgm.dropIndex('events', 'kind', { name: 'events_kind_idx' });
  pgm.dropConstraint('order_items', 'order_items_quantity_check');
};

exports.down = (pgm) => {
  pgm.addConstraint('order_items', 'order_items_quantity_check', { check: 'quantity > 0' });
  pgm.createIndex('events', 'kind', { name: 'events_kind_idx' });
  pgm.addColumn('events', { payload: { type: 'jsonb', notNull: true, default: '{}' } });
  pgm.renameTable('codes', 'legacy_codes');
  pgm.renameColumn('orders', 'remark', 'note');
};
