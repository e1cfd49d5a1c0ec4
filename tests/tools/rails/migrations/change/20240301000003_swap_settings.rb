# Settings get an owner: a new table takes the place of the old one.
class SwapSettings < ActiveRecord::Migration[6.1]
  def up
    create_table :settings_new do |t|
      t.references :account, foreign_key: true
      t.text :key, null: false
      t.text :value
      t.index [:account_id, :key], unique: true
    end
    execute "INSERT INTO settings_new (id, key, value) SELECT id, key, value FROM settings ORDER BY id"

    rename_table :settings, :settings_old
    rename_table :settings_new, :settings
    reset_pk_sequence! :settings
  end
end
