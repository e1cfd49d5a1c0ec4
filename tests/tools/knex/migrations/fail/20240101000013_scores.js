exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.integer('score');
    table.index(['score'], 'users_score_idx');
    // There is no column `level`.
    table.index(['status', 'level'], 'users_status_level_idx');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.dropColumn('score');
  });
};
