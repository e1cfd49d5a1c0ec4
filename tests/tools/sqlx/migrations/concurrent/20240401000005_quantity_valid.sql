-- no-transaction
ALTER TABLE order_items VALIDATE CONSTRAINT order_items_quantity_positive;
