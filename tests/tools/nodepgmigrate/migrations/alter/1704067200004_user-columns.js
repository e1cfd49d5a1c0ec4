exports.up = (pgm) => {
  pgm.addColumns('users', {
    phone: { type: 'varchar(20)' },
    locale: { type: 'text', default: 'en' },
    status: { type: 'varchar(20)', notNull: true, default: 'active' },
  });
  pgm.addColumns('orders', {
    currency: { type: 'varchar(3)', notNull: true, default: 'EUR' },
  });
  pgm.alterColumn('users', 'name', { notNull: true });
};

exports.down = (pgm) => {
  pgm.alterColumn('users', 'name', { notNull: false });
  pgm.dropColumns('orders', ['currency']);
  pgm.dropColumns('users', ['status', 'locale', 'phone']);
};
