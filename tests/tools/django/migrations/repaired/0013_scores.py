from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0012_shipped_at_index")]

    operations = [
        migrations.AddField("User", "score", models.IntegerField(null=True)),
        migrations.AddIndex("User", models.Index(fields=["score"], name="users_score_idx")),
        migrations.RunSQL(
            "CREATE INDEX users_status_score_idx ON users (status, score)", "DROP INDEX users_status_score_idx"
        ),
    ]
