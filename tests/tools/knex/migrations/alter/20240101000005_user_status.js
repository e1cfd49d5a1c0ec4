exports.up = async (knex) => {
  await knex('users').where('age', '<', 18).update({ status: 'restricted' });
  await knex.raw('UPDATE users SET phone = ? WHERE status = ?', ['unlisted', 'restricted']);
};

exports.down = async () => {};
