"""Rules that hold whoever writes: the ORM, the admin or a person at a psql prompt."""

from __future__ import annotations

from django.db import migrations

SNAPSHOT_TABLES = (
    "routing_provider",
    "routing_model",
    "routing_endpoint",
    "routing_price",
    "routing_credential",
    "routing_policy",
    "routing_policyversion",
    "routing_project",
    "routing_apikey",
    "routing_endpointstats",
)

# One transaction raises the version once and sends one notification, however many rows it touches.
ANNOUNCE = """
CREATE FUNCTION routing_announce_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    transaction_id text := pg_current_xact_id()::text;
    new_version bigint;
BEGIN
    IF current_setting('panelboard.announced_in', true) IS NOT DISTINCT FROM transaction_id THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('panelboard.announced_in', transaction_id, true);
    INSERT INTO routing_snapshotversion AS row (id, version, changed_at)
        VALUES (1, 1, now())
        ON CONFLICT (id) DO UPDATE SET version = row.version + 1, changed_at = now()
        RETURNING version INTO new_version;
    PERFORM pg_notify('panelboard_snapshot', new_version::text);
    RETURN NULL;
END $$;
"""

PRICE_HISTORY = """
CREATE FUNCTION routing_guard_price() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    undecided routing_price;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'price rows are never deleted: add a dated row that supersedes it'
            USING ERRCODE = 'restrict_violation';
    END IF;
    undecided := NEW;
    undecided.state := OLD.state;
    undecided.decided_by := OLD.decided_by;
    undecided.decided_at := OLD.decided_at;
    IF undecided IS DISTINCT FROM OLD
        OR OLD.state <> 'pending' OR NEW.state NOT IN ('approved', 'rejected') THEN
        RAISE EXCEPTION 'price rows are never edited: only a pending row can be decided, once'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER routing_price_history BEFORE UPDATE OR DELETE ON routing_price
    FOR EACH ROW EXECUTE FUNCTION routing_guard_price();
"""

# A person may be deleted; the version they wrote stays, without their name.
POLICY_HISTORY = """
CREATE FUNCTION routing_guard_policyversion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    anonymous routing_policyversion;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.created_by_id IS NULL THEN
        anonymous := NEW;
        anonymous.created_by_id := OLD.created_by_id;
        IF anonymous IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'policy versions are never changed or deleted: save a new version instead'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER routing_policyversion_history BEFORE UPDATE OR DELETE ON routing_policyversion
    FOR EACH ROW EXECUTE FUNCTION routing_guard_policyversion();
"""


def _announce_on(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_announce AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION routing_announce_snapshot();",
        f"DROP TRIGGER {table}_announce ON {table};",
    )


class Migration(migrations.Migration):
    dependencies = [("routing", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "INSERT INTO routing_snapshotversion (id, version, changed_at) VALUES (1, 1, now()) "
            "ON CONFLICT DO NOTHING;",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(ANNOUNCE, "DROP FUNCTION routing_announce_snapshot();"),
        *[_announce_on(table) for table in SNAPSHOT_TABLES],
        migrations.RunSQL(
            PRICE_HISTORY,
            "DROP TRIGGER routing_price_history ON routing_price;"
            "DROP FUNCTION routing_guard_price();",
        ),
        migrations.RunSQL(
            POLICY_HISTORY,
            "DROP TRIGGER routing_policyversion_history ON routing_policyversion;"
            "DROP FUNCTION routing_guard_policyversion();",
        ),
    ]
