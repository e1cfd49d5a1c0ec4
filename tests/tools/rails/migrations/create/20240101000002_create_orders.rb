class CreateOrders < ActiveRecord::Migration[6.1]
  def change
    create_table :products do |t|
      t.string :sku, limit: 50, null: false
      t.string :title, limit: 50, null: false
      t.decimal :price, precision: 10, scale: 2, null: false
      t.jsonb :attrs, null: false, default: {}
    end

    create_table :orders do |t|
      t.references :user, null: false, foreign_key: { on_delete: :cascade }
      t.decimal :total, precision: 10, scale: 2, null: false
      t.text :state, null: false, default: "new"
      t.text :note
      t.datetime :created_at, null: false, default: -> { "now()" }
    end

    create_table :order_items do |t|
      t.references :order, null: false, foreign_key: { on_delete: :cascade }
      t.references :product, null: false, foreign_key: true
      t.integer :quantity, null: false, default: 1
    end
  end
end
