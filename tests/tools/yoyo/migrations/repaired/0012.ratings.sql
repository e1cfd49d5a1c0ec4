-- What buyers think
-- depends: 0011.check-quantity

ALTER TABLE products ADD COLUMN rating integer;
CREATE INDEX products_rating_ix ON products (rating);
ALTER TABLE products ADD CONSTRAINT products_rating_ck CHECK (rating BETWEEN 1 AND 5);
