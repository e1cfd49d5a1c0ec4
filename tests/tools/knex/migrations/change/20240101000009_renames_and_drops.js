exports.up = async (knex) => {
  await knex.schema.alterTable('orders', (table) => {
    table.renameColumn('note', 'remark');
  });
  await knex.schema.renameTable('legacy_codes', 'codes');
  await knex.schema.alterTable('events', (table) => {
    table.dropIndex('kind', 'events_kind_idx');
    table.dropColumn('payload');
  });
  await knex.schema.alterTable('order_items', (table) => {
    table.dropChecks('order_items_quantity_check');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('order_items', (table) => {
    table.check('quantity > 0', [], 'order_items_quantity_check');
  });
  await knex.schema.alterTable('events', (table) => {
    table.jsonb('payload').notNullable().defaultTo('{}');
    table.index('kind', 'events_kind_idx');
  });
  await knex.schema.renameTable('codes', 'legacy_codes');
  await knex.schema.alterTable('orders', (table) => {
    table.renameColumn('remark', 'note');
  });
};
