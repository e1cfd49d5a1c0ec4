class CreateEvents < ActiveRecord::Migration[6.1]
  def change
    create_table :events do |t|
      t.bigint :user_id
      t.text :kind, null: false
      t.jsonb :payload
      t.datetime :created_at, null: false, default: -> { "now()" }
      t.index [:kind, :created_at]
    end

    create_table :settings do |t|
      t.text :key, null: false
      t.text :value
    end

    create_table :legacy_codes, id: :serial do |t|
      t.integer :code, null: false
      t.text :label
    end
  end
end
