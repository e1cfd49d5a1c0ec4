exports.up = async (knex) => {
  await knex.schema.createTable('events', (table) => {
    table.bigIncrements('id');
    // The foreign key comes later, in 20240101000006.
    table.bigInteger('user_id');
    table.text('kind').notNullable().index('events_kind_idx');
    table.jsonb('payload').notNullable().defaultTo('{}');
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
  });
  await knex.schema.createTable('settings', (table) => {
    table.bigIncrements('id');
    table.text('key').notNullable().unique();
    table.text('value');
  });
  await knex.schema.createTable('legacy_codes', (table) => {
    table.bigIncrements('id');
    table.integer('code').notNullable();
    table.string('label', 50);
  });
};

exports.down = async (knex) => {
  await knex.schema.dropTable('legacy_codes');
  await knex.schema.dropTable('settings');
  await knex.schema.dropTable('events');
};
