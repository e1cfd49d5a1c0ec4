exports.up = async (knex) => {
  await knex.schema.createTable('products', (table) => {
    table.bigIncrements('id');
    table.string('sku', 50).notNullable().unique();
    table.string('title', 100).notNullable();
    table.decimal('price', 10, 2).notNullable();
    table.jsonb('attrs').notNullable().defaultTo('{}');
  });
  await knex.schema.createTable('orders', (table) => {
    table.bigIncrements('id');
    table.bigInteger('user_id').notNullable().references('id').inTable('users').index();
    table.decimal('total', 12, 2).notNullable();
    table.text('state').notNullable().defaultTo('new');
    table.text('note');
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
  });
  await knex.schema.createTable('order_items', (table) => {
    table.bigIncrements('id');
    table.bigInteger('order_id').notNullable().references('id').inTable('orders').onDelete('CASCADE').index();
    table.bigInteger('product_id').notNullable().references('id').inTable('products').index();
    table.integer('quantity').notNullable().defaultTo(1);
    table.check('quantity > 0', [], 'order_items_quantity_check');
  });
};

exports.down = async (knex) => {
  await knex.schema.dropTable('order_items');
  await knex.schema.dropTable('orders');
  await knex.schema.dropTable('products');
};
