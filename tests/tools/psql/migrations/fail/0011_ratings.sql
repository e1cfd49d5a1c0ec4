ALTER TABLE products ADD COLUMN rating int;
CREATE INDEX products_rating_idx ON products (rating);
ALTER TABLE products ADD CONSTRAINT products_rating_check CHECK (rating BETWEEN 1 AND stars);

INSERT INTO schema_history (version) VALUES ('0011');
