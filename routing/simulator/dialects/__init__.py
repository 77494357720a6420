"""The wire dialects that are played. `registry.py` finds one by its name."""
