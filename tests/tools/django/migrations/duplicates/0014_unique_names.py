from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0013_scores")]

    operations = [
        # They aren't unique: each is there twice.
        migrations.AddConstraint("User", models.UniqueConstraint(fields=["name"], name="users_name_key")),
    ]
