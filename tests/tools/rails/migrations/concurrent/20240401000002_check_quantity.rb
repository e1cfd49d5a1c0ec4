class CheckQuantity < ActiveRecord::Migration[6.1]
  def up
    add_check_constraint :order_items, "quantity > 0", name: "order_items_quantity_positive", validate: false
    add_reference :events, :order, foreign_key: { validate: false }, index: false
  end
end
