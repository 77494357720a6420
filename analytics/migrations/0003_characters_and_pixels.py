from __future__ import annotations

from django.db import migrations

ADD = """
ALTER TABLE attempt ADD COLUMN characters bigint, ADD COLUMN pixels bigint;
"""

DROP = """
ALTER TABLE attempt DROP COLUMN characters, DROP COLUMN pixels;
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0002_partitioned_log")]

    operations = [migrations.RunSQL(ADD, DROP)]
