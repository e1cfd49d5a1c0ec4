exports.up = (pgm) => {
  // Commits what has been done so far, 1704067200011 too.
  pgm.noTransaction();
  pgm.createIndex('orders', 'shipped_at', { name: 'orders_shipped_at_idx', concurrently: true });
};

exports.down = (pgm) => {
  pgm.noTransaction();
  pgm.dropIndex('orders', 'shipped_at', { name: 'orders_shipped_at_idx', concurrently: true });
};
