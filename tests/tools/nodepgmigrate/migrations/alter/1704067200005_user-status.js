exports.up = async (pgm) => {
  // pgm.sql() is put off until the function has ended, pgm.db.query() runs at once.
  pgm.sql("UPDATE users SET phone = 'unlisted' WHERE status = 'restricted'");
  await pgm.db.query('UPDATE users SET status = $1 WHERE age < $2', ['restricted', 18]);
};

exports.down = false;
