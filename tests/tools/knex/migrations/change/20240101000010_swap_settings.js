exports.up = async (knex) => {
  await knex.schema.createTable('settings_new', (table) => {
    table.bigIncrements('id');
    table.text('key').notNullable().unique();
    table.text('value').notNullable().defaultTo('');
    table.timestamp('updated_at').notNullable().defaultTo(knex.fn.now());
  });
  // Two statements in one string.
  await knex.raw(`
    INSERT INTO settings_new (id, key, value) SELECT id, key, coalesce(value, '') FROM settings;
    SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 1) FROM settings_new));
  `);
  await knex.schema.renameTable('settings', 'settings_old');
  await knex.schema.renameTable('settings_new', 'settings');
};

exports.down = async (knex) => {
  await knex.schema.dropTable('settings');
  await knex.schema.renameTable('settings_old', 'settings');
};
