"""Telemetry and money: from the spool to rollups, metrics, bills and exports."""
