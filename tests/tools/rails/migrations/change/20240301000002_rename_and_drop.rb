class RenameAndDrop < ActiveRecord::Migration[6.1]
  def change
    rename_column :legacy_codes, :label, :caption
    # Takes the primary key's index and the sequence with it.
    rename_table :legacy_codes, :codes

    remove_column :orders, :note, :text
    remove_index :users, name: "index_users_on_lower_email"
    remove_index :users, :name
    change_column_default :users, :status, from: "active", to: "invited"
    change_column_default :users, :locale, from: "en", to: nil
    remove_check_constraint :products, "price >= 0", name: "products_price_not_negative"
  end
end
