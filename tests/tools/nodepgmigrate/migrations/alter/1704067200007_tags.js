exports.up = (pgm) => {
  pgm.createTable('tags', {
    id: 'key',
    user_id: { type: 'bigint', notNull: true, references: 'users' },
    name: { type: 'text', notNull: true },
    created_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  pgm.sql("INSERT INTO tags (user_id, name) SELECT id, status FROM users WHERE status <> 'active' ORDER BY id");
  pgm.createIndex('tags', 'user_id');
};

exports.down = (pgm) => {
  pgm.dropTable('tags');
};
