"""The table of posts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the table."""

    initial = True
    operations = (
        migrations.CreateModel(
            name="Post",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("title", models.TextField()),
            ],
        ),
    )
