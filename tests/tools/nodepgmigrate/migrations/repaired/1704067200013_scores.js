exports.up = (pgm) => {
  pgm.addColumn('users', { score: { type: 'integer' } });
  pgm.createIndex('users', 'score', { name: 'users_score_idx' });
  pgm.createIndex('users', ['status', 'score'], { name: 'users_status_score_idx' });
};

exports.down = (pgm) => {
  pgm.dropColumn('users', 'score');
};
