class ValidateQuantity < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!

  def up
    validate_check_constraint :order_items, name: "order_items_quantity_positive"
    validate_foreign_key :events, :orders
    add_index :events, :order_id, algorithm: :concurrently, if_not_exists: true
  end
end
