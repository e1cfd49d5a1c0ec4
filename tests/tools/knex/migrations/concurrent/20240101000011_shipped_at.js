exports.up = async (knex) => {
  await knex.schema.alterTable('orders', (table) => {
    table.timestamp('shipped_at');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('orders', (table) => {
    table.dropColumn('shipped_at');
  });
};
