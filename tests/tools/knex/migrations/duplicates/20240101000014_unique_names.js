exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    // They aren't unique: each is there twice.
    table.unique(['name'], { indexName: 'users_name_key', useConstraint: false });
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.dropIndex('name', 'users_name_key');
  });
};
