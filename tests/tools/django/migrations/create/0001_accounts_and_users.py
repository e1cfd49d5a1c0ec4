from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=50)),
                ("email", models.CharField(max_length=100, unique=True)),
                ("active", models.BooleanField(db_default=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "accounts"},
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("account", models.ForeignKey(on_delete=models.PROTECT, to="shop.account")),
                ("email", models.CharField(max_length=100)),
                ("name", models.CharField(max_length=50, null=True)),
                ("age", models.IntegerField(null=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "users"},
        ),
    ]
