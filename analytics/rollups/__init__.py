"""Rollups of the log: sums and histograms per quarter of an hour, counted once, in the database."""
