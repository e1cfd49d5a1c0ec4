from django.db import migrations


def restrict_minors(apps, schema_editor):
    users = apps.get_model("shop", "User").objects
    users.filter(age__lt=18).update(status="restricted")
    # One by one, as such a function often does; the first few only.
    for user in users.filter(status="restricted").order_by("id")[:5]:
        user.phone = f"unlisted {user.id}"
        user.save(update_fields=["phone"])


class Migration(migrations.Migration):
    dependencies = [("shop", "0004_user_columns")]

    operations = [
        migrations.RunPython(restrict_minors, migrations.RunPython.noop),
        migrations.RunSQL(
            [("UPDATE users SET phone = %s WHERE status = %s AND phone IS NULL", ["unlisted", "restricted"])],
            migrations.RunSQL.noop,
        ),
    ]
