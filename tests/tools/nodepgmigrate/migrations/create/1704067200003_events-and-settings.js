exports.up = (pgm) => {
  pgm.createTable('events', {
    id: 'key',
    // The foreign key comes later, in 1704067200006.
    user_id: { type: 'bigint' },
    kind: { type: 'text', notNull: true },
    payload: { type: 'jsonb', notNull: true, default: '{}' },
    created_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  pgm.createIndex('events', 'kind', { name: 'events_kind_idx' });
  pgm.createTable('settings', {
    id: 'key',
    key: { type: 'text', notNull: true, unique: true },
    value: { type: 'text' },
  });
  pgm.createTable('legacy_codes', {
    id: 'key',
    code: { type: 'integer', notNull: true },
    label: { type: 'varchar(50)' },
  });
};

exports.down = (pgm) => {
  pgm.dropTable('legacy_codes');
  pgm.dropTable('settings');
  pgm.dropTable('events');
};
