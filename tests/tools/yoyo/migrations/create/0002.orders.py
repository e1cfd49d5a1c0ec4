"""Products, and orders of them."""

from yoyo import step

__depends__ = {"0001.customers"}

steps = [
    step(
        """
        CREATE TABLE products (
            id bigserial PRIMARY KEY,
            sku varchar(50) NOT NULL,
            title varchar(50) NOT NULL,
            price numeric(10, 2) NOT NULL,
            attrs jsonb NOT NULL DEFAULT '{}'
        )
        """,
        "DROP TABLE products",
    ),
    step(
        """
        CREATE TABLE orders (
            id bigserial PRIMARY KEY,
            user_id bigint NOT NULL CONSTRAINT orders_user_fk REFERENCES users (id) ON DELETE CASCADE,
            total numeric(10, 2) NOT NULL,
            state text NOT NULL DEFAULT 'new',
            note text,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        "DROP TABLE orders",
    ),
    step(
        """
        CREATE TABLE order_items (
            id bigserial PRIMARY KEY,
            order_id bigint NOT NULL CONSTRAINT order_items_order_fk REFERENCES orders (id) ON DELETE CASCADE,
            product_id bigint NOT NULL CONSTRAINT order_items_product_fk REFERENCES products (id),
            quantity integer NOT NULL DEFAULT 1
        )
        """,
        "DROP TABLE order_items",
    ),
    step("CREATE INDEX orders_user_ix ON orders (user_id)"),
    step("CREATE INDEX order_items_order_ix ON order_items (order_id)"),
    step("CREATE INDEX order_items_product_ix ON order_items (product_id)"),
]
