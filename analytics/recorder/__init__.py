"""The recorder: one process per host that ships the spool into Postgres."""
