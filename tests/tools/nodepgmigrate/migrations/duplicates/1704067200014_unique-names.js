exports.up = (pgm) => {
  // They aren't unique: each is there twice.
  pgm.createIndex('users', 'name', { name: 'users_name_key', unique: true });
};

exports.down = (pgm) => {
  pgm.dropIndex('users', 'name', { name: 'users_name_key' });
};
