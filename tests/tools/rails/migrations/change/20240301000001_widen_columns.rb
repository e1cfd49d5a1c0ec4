class WidenColumns < ActiveRecord::Migration[6.1]
  def up
    change_column :users, :email, :string, limit: 100
    change_column :products, :title, :text
    # A rewrite.
    change_column :legacy_codes, :code, :bigint
  end
end
