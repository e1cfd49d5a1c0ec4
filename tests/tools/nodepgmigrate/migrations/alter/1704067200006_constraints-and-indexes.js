exports.up = (pgm) => {
  pgm.createIndex('users', 'name', { name: 'users_name_idx' });
  pgm.addConstraint('users', 'users_email_key', { unique: 'email' });
  pgm.createIndex('users', 'lower(email)', { name: 'users_lower_email_idx' });
  pgm.createIndex('orders', 'created_at', { name: 'orders_new_idx', where: "state = 'new'" });
  pgm.createIndex('legacy_codes', 'code', { name: 'legacy_codes_code_key', unique: true });
  pgm.addConstraint('orders', 'orders_total_check', { check: 'total >= 0' });
  pgm.addConstraint('events', 'events_user_id_fkey', {
    foreignKeys: { columns: 'user_id', references: 'users(id)' },
  });
};

exports.down = (pgm) => {
  pgm.dropConstraint('events', 'events_user_id_fkey');
  pgm.dropConstraint('orders', 'orders_total_check');
  pgm.dropIndex('legacy_codes', 'code', { name: 'legacy_codes_code_key' });
  pgm.dropIndex('orders', 'created_at', { name: 'orders_new_idx' });
  pgm.dropIndex('users', 'lower(email)', { name: 'users_lower_email_idx' });
  pgm.dropConstraint('users', 'users_email_key');
  pgm.dropIndex('users', 'name', { name: 'users_name_idx' });
};
