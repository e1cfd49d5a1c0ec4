exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.index(['name'], 'users_name_idx');
    table.unique(['email'], { indexName: 'users_email_key' });
    table.index(knex.raw('lower(email)'), 'users_lower_email_idx');
  });
  await knex.schema.alterTable('orders', (table) => {
    table.index(['created_at'], 'orders_new_idx', { predicate: knex.whereRaw("state = 'new'") });
    table.check('total >= 0', [], 'orders_total_check');
  });
  await knex.schema.alterTable('legacy_codes', (table) => {
    table.unique(['code'], { indexName: 'legacy_codes_code_key', useConstraint: false });
  });
  await knex.schema.alterTable('events', (table) => {
    table.foreign('user_id', 'events_user_id_fkey').references('id').inTable('users');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('events', (table) => {
    table.dropForeign('user_id', 'events_user_id_fkey');
  });
  await knex.schema.alterTable('legacy_codes', (table) => {
    table.dropIndex('code', 'legacy_codes_code_key');
  });
  await knex.schema.alterTable('orders', (table) => {
    table.dropChecks('orders_total_check');
    table.dropIndex('created_at', 'orders_new_idx');
  });
  await knex.schema.alterTable('users', (table) => {
    table.dropIndex('email', 'users_lower_email_idx');
    table.dropUnique('email', 'users_email_key');
    table.dropIndex('name', 'users_name_idx');
  });
};
