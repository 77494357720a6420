"""Batches at providers: the ways in which they take them, and the wire between."""
