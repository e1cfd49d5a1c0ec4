class CreateCustomers < ActiveRecord::Migration[6.1]
  def change
    create_table :accounts do |t|
      t.string :name, limit: 100, null: false
      t.string :email, limit: 100, null: false
      t.boolean :active, null: false, default: true
      t.datetime :created_at, null: false, default: -> { "now()" }
    end

    create_table :users do |t|
      t.references :account, null: false, foreign_key: true
      t.string :email, limit: 50, null: false
      t.string :name, limit: 50
      t.integer :age
      t.datetime :created_at, null: false, default: -> { "now()" }
    end
  end
end
