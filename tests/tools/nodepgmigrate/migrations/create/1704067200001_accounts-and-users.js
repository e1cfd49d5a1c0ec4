exports.shorthands = {
  key: { type: 'bigserial', primaryKey: true },
};

exports.up = (pgm) => {
  pgm.createTable('accounts', {
    id: 'key',
    name: { type: 'varchar(50)', notNull: true },
    email: { type: 'varchar(100)', notNull: true, unique: true },
    active: { type: 'boolean', notNull: true, default: true },
    created_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  pgm.createTable('users', {
    id: 'key',
    account_id: { type: 'bigint', notNull: true, references: 'accounts' },
    email: { type: 'varchar(100)', notNull: true },
    name: { type: 'varchar(50)' },
    age: { type: 'integer' },
    created_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  pgm.createIndex('users', 'account_id');
};

exports.down = (pgm) => {
  pgm.dropTable('users');
  pgm.dropTable('accounts');
};
