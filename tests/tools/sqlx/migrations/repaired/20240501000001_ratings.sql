ALTER TABLE products ADD COLUMN rating INTEGER;
CREATE INDEX idx_products_rating ON products (rating);
ALTER TABLE products ADD CONSTRAINT products_rating_range CHECK (rating BETWEEN 1 AND 5);
