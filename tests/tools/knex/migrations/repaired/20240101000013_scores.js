exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.integer('score');
    table.index(['score'], 'users_score_idx');
    table.index(['status', 'score'], 'users_status_score_idx');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('users', (table) => {
    table.dropColumn('score');
  });
};
