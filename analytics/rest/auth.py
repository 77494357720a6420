"""Who calls the REST API: an access token of an organization, with scopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from typing_extensions import override

from analytics.queries.types import Scope
from routing.models import AccessToken, Project
from routing.services.tokens import find_access_token

if TYPE_CHECKING:  # it imports this module by way of the settings
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Stands where Django expects a user. A token is no person."""

    token: AccessToken
    is_authenticated: bool = True

    @property
    def scope(self) -> Scope:
        """The projects of the token's organization: one query."""
        rows = Project.objects.filter(organization_id=self.token.organization_id)
        return Scope(frozenset(rows.values_list("id", flat=True)))


class AccessTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer pb_rest_…`"""

    @override
    def authenticate(self, request: Request) -> tuple[TokenHolder, AccessToken] | None:
        kind, _, plaintext = get_authorization_header(request).partition(b" ")
        if not kind:
            return None
        if kind.lower() != b"bearer" or not plaintext:
            raise AuthenticationFailed("Send the access token as: Authorization: Bearer pb_rest_…")
        token = find_access_token(plaintext=plaintext.decode("latin-1").strip())
        if token is None:
            raise AuthenticationFailed(
                "This access token is unknown, revoked or expired: create another one. API keys"
                " (pb_live_…) are for /v1/ and do not work here."
            )
        return TokenHolder(token), token

    @override
    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="panelboard"'


class HasScope(BasePermission):
    """The view names its scope in `required_scope`."""

    @override
    def has_permission(self, request: Request, view: APIView) -> bool:
        needed: Any = getattr(view, "required_scope", None)
        holder = request.user
        if not isinstance(holder, TokenHolder) or needed is None:
            return False
        self.message = (
            f"This token lacks the scope {needed}; it has: {', '.join(holder.token.scopes) or '—'}."
        )
        return needed in holder.token.scopes
