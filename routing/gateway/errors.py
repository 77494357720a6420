"""From what went wrong to what the client is told, in OpenAI's envelope."""

from __future__ import annotations

import math

import msgspec

from routing.adapters.base import Headers
from routing.core.errors import FailureClass, HubError, UpstreamError

_encode = msgspec.json.Encoder().encode

JSON_HEADERS: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
LONGEST_QUOTE = 500  # characters of a provider's message that reach a client


def error_body(error: HubError, request_id: str) -> bytes:
    body: dict[str, object] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.code,
        "request_id": request_id,
    }
    if error.detail:
        body["detail"] = error.detail
    return _encode({"error": body})


def error_headers(error: HubError) -> Headers:
    headers = list(JSON_HEADERS)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(error.retry_after_s * 1000)))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def error_event(error: HubError, request_id: str) -> bytes:
    """The frame that ends a stream which broke after content. No [DONE] follows it."""
    return b"data: " + error_body(error, request_id) + b"\n\n"


def our_fault() -> HubError:
    return HubError(
        500,
        "internal_error",
        "The hub failed at this request; its log says why, under this request id",
        kind="server_error",
        should_retry=True,
    )


def stopping() -> HubError:
    return unavailable("gateway_stopping", "This gateway is restarting. Try again", 1.0)


def no_room() -> HubError:
    return unavailable(
        "accounting_unavailable",
        "The hub cannot write its log (spool full or disk error) and takes no request that it "
        "could not bill. An administrator has to look at the spool folder",
        5.0,
    )


def unavailable(code: str, message: str, retry_after_s: float) -> HubError:
    return HubError(
        503, code, message, kind="server_error", retry_after_s=retry_after_s, should_retry=True
    )


def client_error(failed: UpstreamError, provider: str, attempts: int) -> HubError:
    """The honest last word after every attempt failed. A provider's 401 is never the client's."""
    build = _BUILDERS.get(failed.failure, _failed)
    error = build(failed, provider)
    error.detail = {"provider": provider, "attempts": attempts, "cause": failed.code}
    return error


def broken_off(failed: UpstreamError, provider: str) -> HubError:
    """A stream that broke after content: no other endpoint may go on with it."""
    error = HubError(
        502,
        "provider_broke_off",
        f"{provider} broke the answer off ({failed.code or failed.failure}). What came so far is "
        "incomplete: send the request again",
        kind="server_error",
        should_retry=True,
    )
    error.detail = {"provider": provider, "cause": failed.code}
    return error


def _failed(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        502,
        "provider_error",
        f"{provider} failed ({failed.code or failed.failure}) and no other endpoint answered. "
        "Trying again may help",
        kind="server_error",
        should_retry=True,
    )


def _timeout(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        504,
        "provider_timeout",
        f"{provider} did not answer in time ({failed.code}) and no other endpoint did",
        kind="server_error",
        should_retry=True,
    )


def _capacity(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        429,
        "provider_rate_limited",
        f"{provider} limits the hub's rate and no other endpoint is free. Wait and try again",
        kind="rate_limit_error",
        retry_after_s=failed.retry_after_s or 1.0,
        should_retry=True,
    )


def _hub_account(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        502,
        "provider_refused_hub",
        f"{provider} refused the hub's own account ({failed.code or failed.failure}). Your key is "
        "fine; an administrator has to look at the provider's credential",
        kind="server_error",
        should_retry=False,
    )


def _model_gone(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        502,
        "model_gone_upstream",
        f"{provider} no longer serves this model. Choose another provider or model",
        kind="server_error",
        should_retry=False,
    )


def _clients_own(failed: UpstreamError, provider: str) -> HubError:
    status = failed.status if failed.status in (400, 404, 413, 415, 422) else 400
    return HubError(
        status,
        failed.code or "invalid_request",
        f"{provider}: {failed.message[:LONGEST_QUOTE]}",
        should_retry=False,
    )


def _context(failed: UpstreamError, provider: str) -> HubError:
    return HubError(
        400,
        "context_length_exceeded",
        f"{provider}: {failed.message[:LONGEST_QUOTE]}. Shorten the prompt or lower max_tokens",
        param="messages",
        should_retry=False,
    )


_BUILDERS = {
    FailureClass.TIMEOUT: _timeout,
    FailureClass.CAPACITY: _capacity,
    FailureClass.BILLING: _hub_account,
    FailureClass.CREDENTIAL: _hub_account,
    FailureClass.MODEL_GONE: _model_gone,
    FailureClass.CLIENT: _clients_own,
    FailureClass.CONTEXT: _context,
}
