exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.string('phone', 20);
    table.text('locale').defaultTo('en');
    table.string('status', 20).notNullable().defaultTo('active');
  });
  await knex.schema.alterTable('orders', (table) => {
    table.string('currency', 3).notNullable().defaultTo('EUR');
  });
  await knex.schema.alterTable('users', (table) => {
    table.dropNullable('name');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.setNullable('name');
    table.dropColumns('phone', 'locale', 'status');
  });
  await knex.schema.alterTable('orders', (table) => {
    table.dropColumn('currency');
  });
};
