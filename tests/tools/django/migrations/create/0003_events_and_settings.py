from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_products_and_orders")]

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                # A foreign key from 0006 on.
                ("user", models.BigIntegerField(null=True, db_column="user_id")),
                ("kind", models.TextField()),
                ("payload", models.JSONField(db_default={})),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "events",
                "indexes": [models.Index(fields=["kind"], name="events_kind_idx")],
            },
        ),
        migrations.CreateModel(
            name="Setting",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.TextField(unique=True)),
                ("value", models.TextField(null=True)),
            ],
            options={"db_table": "settings"},
        ),
        migrations.CreateModel(
            name="LegacyCode",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("code", models.IntegerField()),
                ("label", models.CharField(max_length=50, null=True)),
            ],
            options={"db_table": "legacy_codes"},
        ),
    ]
