class AddConstraints < ActiveRecord::Migration[6.1]
  def change
    add_index :users, :name
    add_index :users, "lower(email)", name: "index_users_on_lower_email"
    add_index :orders, :created_at, where: "state <> 'closed'", name: "index_orders_open"

    add_index :users, :email, unique: true
    add_index :products, :sku, unique: true
    add_index :settings, :key, unique: true

    add_index :events, :user_id
    add_foreign_key :events, :users, on_delete: :nullify

    add_check_constraint :orders, "total >= 0", name: "orders_total_not_negative"
    add_check_constraint :products, "price >= 0", name: "products_price_not_negative"
  end
end
