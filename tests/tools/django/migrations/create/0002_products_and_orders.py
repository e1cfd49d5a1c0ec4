from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_accounts_and_users")]

    operations = [
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("sku", models.CharField(max_length=50, unique=True)),
                ("title", models.CharField(max_length=100)),
                ("price", models.DecimalField(max_digits=10, decimal_places=2)),
                ("attrs", models.JSONField(db_default={})),
            ],
            options={"db_table": "products"},
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user", models.ForeignKey(on_delete=models.PROTECT, to="shop.user")),
                ("total", models.DecimalField(max_digits=12, decimal_places=2)),
                ("state", models.TextField(db_default="new")),
                ("note", models.TextField(null=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "orders"},
        ),
        migrations.CreateModel(
            name="OrderItem",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("order", models.ForeignKey(on_delete=models.CASCADE, to="shop.order")),
                ("product", models.ForeignKey(on_delete=models.PROTECT, to="shop.product")),
                ("quantity", models.IntegerField(db_default=1)),
            ],
            options={
                "db_table": "order_items",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(quantity__gt=0), name="order_items_quantity_check"),
                ],
            },
        ),
    ]
