"""Limits are history that no one edits, and part of the picture that gateways route from."""

from __future__ import annotations

from django.db import migrations

# A person may be deleted; the limit they set stays, without their name.
LIMIT_HISTORY = """
CREATE FUNCTION routing_guard_limit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    anonymous routing_limit;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.created_by_id IS NULL THEN
        anonymous := NEW;
        anonymous.created_by_id := OLD.created_by_id;
        IF anonymous IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'limits are never changed or deleted: set a new one instead'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER routing_limit_history BEFORE UPDATE OR DELETE ON routing_limit
    FOR EACH ROW EXECUTE FUNCTION routing_guard_limit();
"""


class Migration(migrations.Migration):
    dependencies = [("routing", "0005_limits")]

    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER routing_limit_announce AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE "
            "ON routing_limit FOR EACH STATEMENT EXECUTE FUNCTION routing_announce_snapshot();",
            "DROP TRIGGER routing_limit_announce ON routing_limit;",
        ),
        migrations.RunSQL(
            LIMIT_HISTORY,
            "DROP TRIGGER routing_limit_history ON routing_limit;"
            "DROP FUNCTION routing_guard_limit();",
        ),
        # Rewritten about once a second each: new versions should fit beside the old ones.
        migrations.RunSQL(
            "ALTER TABLE routing_limitpool SET (fillfactor = 30, autovacuum_vacuum_scale_factor = 0.01);",
            migrations.RunSQL.noop,
        ),
    ]
