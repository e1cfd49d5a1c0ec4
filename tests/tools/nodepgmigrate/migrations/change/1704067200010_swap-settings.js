exports.up = (pgm) => {
  pgm.createTable('settings_new', {
    id: 'key',
    key: { type: 'text', notNull: true, unique: true },
    value: { type: 'text', notNull: true, default: '' },
    updated_at: { type: 'timestamptz', notNull: true, default: pgm.func('now()') },
  });
  // Two statements in one string.
  pgm.sql(`
    INSERT INTO settings_new (id, key, value) SELECT id, key, coalesce(value, '') FROM settings;
    SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 1) FROM settings_new));
  `);
  pgm.renameTable('settings', 'settings_old');
  pgm.renameTable('settings_new', 'settings');
};

exports.down = (pgm) => {
  pgm.dropTable('settings');
  pgm.renameTable('settings_old', 'settings');
};
