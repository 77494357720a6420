"""What drf-spectacular cannot guess of the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from typing_extensions import override


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "analytics.rest.auth.AccessTokenAuthentication"
    name = "accessToken"

    @override
    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "pb_rest_…",
            "description": "An access token of an organization. Scopes: billing:read,"
            " catalog:read, requests:read.",
        }
