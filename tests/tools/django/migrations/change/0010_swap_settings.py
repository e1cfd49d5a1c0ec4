from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("shop", "0009_renames_and_drops")]

    operations = [
        migrations.CreateModel(
            name="SettingNew",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.TextField()),
                ("value", models.TextField(db_default="")),
                ("updated_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "settings_new",
                # Not unique=True: the index for LIKE that comes with it would be made when all else is done, under
                # the name that the index of the old table has.
                "constraints": [models.UniqueConstraint(fields=["key"], name="settings_new_key_key")],
            },
        ),
        migrations.RunSQL(
            """
            INSERT INTO settings_new (id, key, value) SELECT id, key, coalesce(value, '') FROM settings;
            SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 1) FROM settings_new));
            """,
            migrations.RunSQL.noop,
        ),
        migrations.AlterModelTable("Setting", "settings_old"),
        migrations.AlterModelTable("SettingNew", "settings"),
    ]
