"""The admin: facts are edited in forms, everything with consequences goes through services."""

from routing.admin import catalog, credentials, limits, policies, prices, team

__all__ = ["catalog", "credentials", "limits", "policies", "prices", "team"]
