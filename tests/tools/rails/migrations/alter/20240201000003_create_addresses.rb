class CreateAddresses < ActiveRecord::Migration[6.1]
  # Not the application's model, which will change.
  class User < ActiveRecord::Base
  end

  def up
    create_table :addresses do |t|
      t.references :user, null: false, foreign_key: { on_delete: :cascade }, index: false
      t.string :country, limit: 2, null: false
      t.text :line, null: false, default: ""
    end

    User.where("age < 18").update_all(status: "minor", locale: "de")
    User.where(status: "active").in_batches(of: 300) do |users|
      users.update_all("phone = '+' || id")
    end
    execute <<~SQL
      INSERT INTO addresses (user_id, country, line)
      SELECT id, CASE locale WHEN 'de' THEN 'de' ELSE 'gb' END, name FROM users WHERE status <> 'minor'
    SQL
    add_index :addresses, :user_id
  end

  def down
    drop_table :addresses
  end
end
