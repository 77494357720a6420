"""The two families of errors.

HubError            what a client of the hub is told: status, stable code, what to do next
UpstreamError       what went wrong with one attempt at one endpoint
  ConnectFailed       nothing was sent: another try is free of side effects
  Refused             the provider answered with an error status, or an error before any content
  BrokenAnswer        unreadable, truncated or cut
  UpstreamTimeout     a deadline passed; `phase` says which
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class HubError(Exception):
    """Shown to the client in its own dialect's envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.detail = detail


class FailureClass(StrEnum):
    """What a failed attempt means for retry, failover and health (facts: retry table)."""

    CONNECT = "connect"  # nothing was sent
    TRANSIENT = "transient"  # 408, 409, 5xx, error frame, broken answer
    CAPACITY = "capacity"  # 429 and its relatives: not ill health
    BILLING = "billing"  # the hub's money at the provider
    CREDENTIAL = "credential"  # the hub's key at the provider
    MODEL_GONE = "model_gone"  # the endpoint no longer exists
    CLIENT = "client"  # the caller's request is at fault
    CONTEXT = "context"  # too long here; a larger window may do
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"  # the client left


FAILS_OVER = frozenset(
    {
        FailureClass.CONNECT,
        FailureClass.TRANSIENT,
        FailureClass.CAPACITY,
        FailureClass.BILLING,
        FailureClass.CREDENTIAL,
        FailureClass.MODEL_GONE,
        FailureClass.CONTEXT,
        FailureClass.TIMEOUT,
    }
)
COUNTS_AGAINST_HEALTH = frozenset(
    {FailureClass.CONNECT, FailureClass.TRANSIENT, FailureClass.TIMEOUT}
)


SPENDS_RETRIES = COUNTS_AGAINST_HEALTH | {FailureClass.CAPACITY}  # another try could have helped
REFUSES_THE_HUB = frozenset({FailureClass.CREDENTIAL, FailureClass.BILLING})


class UpstreamError(Exception):
    """One attempt failed. `message` is for our log and receipt; it may quote the provider."""

    def __init__(
        self,
        failure: FailureClass,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        retry_after_s: float | None = None,
        was_sent: bool = True,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.was_sent = was_sent
        self.body = body


class ConnectFailed(UpstreamError):
    def __init__(self, message: str) -> None:
        super().__init__(FailureClass.CONNECT, message, code="connect_failed", was_sent=False)


class UpstreamTimeout(UpstreamError):
    """`phase` is one of connect, write, first_content, idle, progress, total."""

    def __init__(self, phase: str, message: str, *, was_sent: bool = True) -> None:
        failure = FailureClass.TIMEOUT if was_sent else FailureClass.CONNECT
        super().__init__(failure, message, code=f"timeout_{phase}", was_sent=was_sent)
        self.phase = phase


class BrokenAnswer(UpstreamError):
    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(FailureClass.TRANSIENT, message, status=status, code=code)


class Refused(UpstreamError):
    """The provider said no, by status or by an error before the first content."""
