from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("shop", "0006_constraints_and_indexes")]

    operations = [
        migrations.CreateModel(
            name="Tag",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user", models.ForeignKey(on_delete=models.CASCADE, to="shop.user")),
                ("name", models.TextField()),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "tags"},
        ),
        migrations.RunSQL(
            "INSERT INTO tags (user_id, name) SELECT id, status FROM users WHERE status <> 'active' ORDER BY id",
            "DELETE FROM tags",
        ),
    ]
