"""A constraint in two steps, none of which holds up anybody for long."""

from yoyo import step

__depends__ = {"0010.order-indexes"}
__transactional__ = False

steps = [
    step("ALTER TABLE order_items ADD CONSTRAINT order_items_quantity_ck CHECK (quantity > 0) NOT VALID"),
    step("ALTER TABLE order_items VALIDATE CONSTRAINT order_items_quantity_ck"),
]
