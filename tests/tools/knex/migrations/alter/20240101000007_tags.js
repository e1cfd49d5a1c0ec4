exports.up = async (knex) => {
  await knex.schema.createTable('tags', (table) => {
    table.bigIncrements('id');
    table.bigInteger('user_id').notNullable().references('id').inTable('users');
    table.text('name').notNullable();
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
  });
  await knex(knex.raw('tags (user_id, name)')).insert(
    knex('users').select('id', 'status').whereNot('status', 'active').orderBy('id'),
  );
  await knex.schema.alterTable('tags', (table) => {
    table.index('user_id');
  });
};

exports.down = async (knex) => {
  await knex.schema.dropTable('tags');
};
