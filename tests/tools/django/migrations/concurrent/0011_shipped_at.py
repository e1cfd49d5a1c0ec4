from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0010_swap_settings")]

    operations = [
        migrations.AddField("Order", "shipped_at", models.DateTimeField(null=True)),
    ]
