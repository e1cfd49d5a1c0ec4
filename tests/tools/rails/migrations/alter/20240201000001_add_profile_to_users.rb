class AddProfileToUsers < ActiveRecord::Migration[6.1]
  def change
    add_column :users, :phone, :string, limit: 20
    # One ALTER TABLE with three parts.
    change_table :users, bulk: true do |t|
      t.string :locale, default: "en"
      t.string :status, null: false, default: "active"
      t.datetime :updated_at, null: false, default: -> { "'2024-01-01 00:00:00'" }
    end

    # Sets 'nameless' where there is none, first.
    change_column_null :users, :name, false, "nameless"
    change_column_comment :users, :name, from: nil, to: "As the user's friends know it"
  end
end
