"""The REST API under /api/v1/: the figures of `analytics.queries`, for programs."""
