from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0007_tags")]

    operations = [
        # No rewrite: the old values fit as they are.
        migrations.AlterField("User", "name", models.CharField(max_length=100)),
        migrations.AlterField("Product", "title", models.TextField()),
        # A rewrite of the table and its indexes.
        migrations.AlterField("LegacyCode", "code", models.BigIntegerField()),
        migrations.AlterField("Order", "state", models.TextField(db_default="open")),
    ]
