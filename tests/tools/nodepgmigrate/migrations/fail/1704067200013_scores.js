exports.up = (pgm) => {
  pgm.addColumn('users', { score: { type: 'integer' } });
  pgm.createIndex('users', 'score', { name: 'users_score_idx' });
  // There is no column `level`.
  pgm.createIndex('users', ['status', 'level'], { name: 'users_status_level_idx' });
};

exports.down = (pgm) => {
  pgm.dropColumn('users', 'score');
};
