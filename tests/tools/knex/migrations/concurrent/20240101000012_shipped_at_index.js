// With this one among those pending, each runs by itself.
exports.config = { transaction: false };

exports.up = async (knex) => {
  await knex.raw('CREATE INDEX CONCURRENTLY orders_shipped_at_idx ON orders (shipped_at)');
};

exports.down = async (knex) => {
  await knex.raw('DROP INDEX CONCURRENTLY orders_shipped_at_idx');
};
