class AddOrderIndexes < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!

  def change
    add_index :orders, :total, algorithm: :concurrently
    add_index :events, [:user_id, :created_at], order: { created_at: :desc }, algorithm: :concurrently
    remove_index :orders, name: "index_orders_open", algorithm: :concurrently
  end
end
