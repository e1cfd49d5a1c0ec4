from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [("shop", "0005_user_status")]

    operations = [
        migrations.AddIndex("User", models.Index(fields=["name"], name="users_name_idx")),
        migrations.AlterField("User", "email", models.CharField(max_length=100, unique=True)),
        migrations.AddIndex("User", models.Index(Lower("email"), name="users_lower_email_idx")),
        migrations.AddIndex(
            "Order", models.Index(fields=["created_at"], condition=models.Q(state="new"), name="orders_new_idx")
        ),
        migrations.AddConstraint(
            "LegacyCode", models.UniqueConstraint(fields=["code"], name="legacy_codes_code_key")
        ),
        migrations.AddConstraint(
            "Order", models.CheckConstraint(condition=models.Q(total__gte=0), name="orders_total_check")
        ),
        # Makes an index too.
        migrations.AlterField(
            "Event", "user", models.ForeignKey(null=True, on_delete=models.SET_NULL, to="shop.user")
        ),
    ]
