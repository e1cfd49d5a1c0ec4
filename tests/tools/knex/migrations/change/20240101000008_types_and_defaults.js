exports.up = async (knex) => {
  // alter() also drops the default and NOT NULL and sets them anew, each in a statement of its own.
  await knex.schema.alterTable('users', (table) => {
    table.string('name', 100).notNullable().alter();
  });
  await knex.schema.alterTable('products', (table) => {
    table.text('title').notNullable().alter();
  });
  // A rewrite of the table and its indexes.
  await knex.schema.alterTable('legacy_codes', (table) => {
    table.bigInteger('code').notNullable().alter({ alterNullable: false });
  });
  await knex.schema.alterTable('orders', (table) => {
    table.text('state').notNullable().defaultTo('open').alter({ alterNullable: false, alterType: false });
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('orders', (table) => {
    table.text('state').notNullable().defaultTo('new').alter();
  });
  await knex.schema.alterTable('legacy_codes', (table) => {
    table.integer('code').notNullable().alter();
  });
  await knex.schema.alterTable('products', (table) => {
    table.string('title', 100).notNullable().alter();
  });
  await knex.schema.alterTable('users', (table) => {
    table.string('name', 50).notNullable().alter();
  });
};
