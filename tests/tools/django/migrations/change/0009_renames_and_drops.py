from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("shop", "0008_types_and_defaults")]

    operations = [
        migrations.RenameField("Order", "note", "remark"),
        migrations.AlterModelTable("LegacyCode", "codes"),
        migrations.RemoveField("Event", "payload"),
        migrations.RemoveIndex("Event", "events_kind_idx"),
        migrations.RemoveConstraint("OrderItem", "order_items_quantity_check"),
    ]
