"""The error envelope of OpenAI's dialects, with the names that each of them has for a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.adapters.jsonio import dumps
from routing.core.errors import HubError


def error_body(error: HubError, request_id: str, names: Mapping[str, str]) -> bytes:
    """`names` leads from a field of OpenAI chat to what the client's dialect calls it."""
    return dumps({"error": error_object(error, request_id, names)})


def error_object(error: HubError, request_id: str, names: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "message": error.message,
        "type": error.kind,
        "param": renamed(error.param, names),
        "code": error.code,
        "request_id": request_id,
    }
    return {**shown, "detail": error.detail} if error.detail else shown


def renamed(param: str | None, names: Mapping[str, str]) -> str | None:
    """A place inside a field (`messages[3]`) is not the same place in another dialect."""
    if param is None:
        return None
    return names.get(param.partition("[")[0], param)


def refusal(param: str, message: str, code: str = "invalid_value") -> HubError:
    """A 400 that names the field; sending the same again is useless."""
    return HubError(400, code, message, param=param, should_retry=False)
