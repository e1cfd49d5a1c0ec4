class AddRatingToProducts < ActiveRecord::Migration[6.1]
  def change
    add_column :products, :rating, :integer
    add_index :products, :rating
    add_check_constraint :products, "rating BETWEEN 1 AND 5", name: "products_rating_range"
  end
end
