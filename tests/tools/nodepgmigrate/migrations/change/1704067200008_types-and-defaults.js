exports.up = (pgm) => {
  // No rewrite: the old values fit as they are.
  pgm.alterColumn('users', 'name', { type: 'varchar(100)' });
  pgm.alterColumn('products', 'title', { type: 'text' });
  // A rewrite of the table and its indexes.
  pgm.alterColumn('legacy_codes', 'code', { type: 'bigint' });
  pgm.alterColumn('orders', 'state', { default: 'open' });
};

exports.down = (pgm) => {
  pgm.alterColumn('orders', 'state', { default: 'new' });
  pgm.alterColumn('legacy_codes', 'code', { type: 'integer' });
  pgm.alterColumn('products', 'title', { type: 'varchar(100)' });
  pgm.alterColumn('users', 'name', { type: 'varchar(50)' });
};
