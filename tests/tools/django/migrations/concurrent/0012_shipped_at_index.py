from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("shop", "0011_shipped_at")]

    operations = [
        AddIndexConcurrently("Order", models.Index(fields=["shipped_at"], name="orders_shipped_at_idx")),
    ]
