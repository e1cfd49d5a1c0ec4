from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_events_and_settings")]

    operations = [
        migrations.AddField("User", "phone", models.CharField(max_length=20, null=True)),
        # `default` is Django's own: the column gets it for the rows that are there and loses it at once.
        migrations.AddField("User", "locale", models.TextField(default="en", null=True)),
        migrations.AddField("User", "status", models.CharField(max_length=20, db_default="active")),
        migrations.AddField("Order", "currency", models.CharField(max_length=3, db_default="EUR")),
        migrations.AlterField(
            "User", "name", models.CharField(max_length=50, default=""), preserve_default=False
        ),
    ]
