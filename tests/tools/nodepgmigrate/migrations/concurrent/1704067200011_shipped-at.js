exports.up = (pgm) => {
  pgm.addColumn('orders', { shipped_at: { type: 'timestamptz' } });
};

exports.down = (pgm) => {
  pgm.dropColumn('orders', 'shipped_at');
};
