exports.up = async (knex) => {
  await knex.schema.createTable('accounts', (table) => {
    table.bigIncrements('id');
    table.string('name', 50).notNullable();
    table.string('email', 100).notNullable().unique();
    table.boolean('active').notNullable().defaultTo(true);
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
  });
  await knex.schema.createTable('users', (table) => {
    table.bigIncrements('id');
    table.bigInteger('account_id').notNullable().references('id').inTable('accounts').index();
    table.string('email', 100).notNullable();
    table.string('name', 50);
    table.integer('age');
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
  });
};

exports.down = async (knex) => {
  await knex.schema.dropTable('users');
  await knex.schema.dropTable('accounts');
};
