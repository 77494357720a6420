"""What tests of a whole hub share: the simulator's control, the log over REST, raw streams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Self

import httpx

from tests.support.running_hub import RunningHub

MODEL = "openai/gpt-oss-120b"
SETTLED_WITHIN_S = 30.0
ROLL_UP = "from analytics.tasks import roll_up; roll_up()"


class _Closing:
    http: httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


class SimulatorControl(_Closing):
    """Faults and journal of the running provider simulator."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=20)

    @contextmanager
    def fault(self, provider: str, fault: str, **options: Any) -> Iterator[None]:
        body = {"provider": provider, "fault": fault, **options}
        self.http.post("/_control/faults", json=body).raise_for_status()
        try:
            yield
        finally:
            self.http.delete("/_control/faults").raise_for_status()

    def journal(self, request_id: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.http.get("/_control/journal").json()["rows"]
        return [row for row in rows if row["request_id"].startswith(request_id)]

    def violations(self) -> list[Any]:
        found: list[Any] = self.http.get("/_control/violations").json()["violations"]
        return found


class Rest(_Closing):
    """The hub's own REST API, as a billing script would use it."""

    def __init__(self, hub: RunningHub) -> None:
        self.http = httpx.Client(
            base_url=f"{hub.url}/api/v1",
            headers={"authorization": f"Bearer {hub.rest_token}"},
            timeout=20,
        )

    def receipt(self, request_id: str) -> dict[str, Any]:
        """Waits until the request is in the log."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while True:
            answer = self.http.get(f"/requests/{request_id}")
            if answer.status_code == httpx.codes.OK:
                found: dict[str, Any] = answer.json()
                return found
            assert time.monotonic() < deadline, f"{request_id} is not in the log: {answer.text}"
            time.sleep(0.1)

    def bill(self) -> dict[str, Decimal]:
        """Cost of the month by provider, without the hub's own probes; as of the last rollup."""
        query = {"group_by": "provider", "kind": "traffic"}
        rows = self.http.get("/billing/usage", params=query).json()["data"]
        return {row["provider"]: money(row["cost_usd"]) for row in rows}


def roll_up(hub: RunningHub) -> None:
    """Sooner than its schedule does."""
    hub.manage("shell", "--verbosity", "0", "-c", ROLL_UP)


def raw_client(hub: RunningHub) -> httpx.Client:
    return httpx.Client(
        base_url=hub.url, headers={"authorization": f"Bearer {hub.api_key}"}, timeout=60
    )


@contextmanager
def signed_in(hub: RunningHub) -> Iterator[httpx.Client]:
    """The first admin's browser."""
    with httpx.Client(base_url=hub.url, headers={"referer": hub.url}, timeout=30) as client:
        client.get("/login/")
        form = {
            "username": hub.first_run["admin_username"],
            "password": hub.first_run["admin_password"],
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        assert client.post("/login/", data=form).status_code == httpx.codes.FOUND
        yield client


def chat_body(text: str = "Say something short.", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def money(text: str) -> Decimal:
    return Decimal(text)
