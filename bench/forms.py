"""The two forms in which our own program takes part."""

from __future__ import annotations

OURS = "panelboard"  # its hot path compiled
INTERPRETED = "interpreted"
FORMS = (OURS, INTERPRETED)
