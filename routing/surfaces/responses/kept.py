"""The Responses dialect with a memory: what a request refers to is fetched, what it makes is kept."""

from __future__ import annotations

from routing.surfaces.responses.surface import ResponsesSurface as KeptResponsesSurface

__all__ = ["KeptResponsesSurface"]
