"""A question of the hub's own to one endpoint, whose answer nobody reads: kinds other than chat."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from routing.adapters.base import Headers
from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.core.kinds import KINDS
from routing.gateway.kind_requests import parse_kind
from routing.gateway.scribe import Scribe
from routing.gateway.service import Gateway, outcome_of_error
from routing.gateway.shadow import NoClient

JSON: Headers = [(b"content-type", b"application/json")]


async def ask_once(
    gateway: Gateway, caller: Caller, endpoint_id: int, body: dict[str, Any]
) -> Decimal:
    """What the answer cost, in USD. `body` is that of the kind's path, without a model.

    The path of a client's request; a failure is recorded like any other, and not raised.
    """
    endpoint = gateway.snapshot.endpoints[endpoint_id]
    received_at, received_wall = gateway.monotonic(), gateway.wall()
    request_id = gateway.new_request_id(received_wall)
    scribe = Scribe(gateway, request_id, caller, received_at, received_wall)
    scribe.surface = KINDS[endpoint.kind].surface
    pinned = {**body, "model": f"{endpoint.model.name}:{endpoint.provider.slug}"}
    try:
        call, facts = parse_kind(endpoint.kind, JSON, orjson.dumps(pinned), gateway.snapshot)
        await gateway.run(scribe, NoClient(), call, facts, endpoint_id=endpoint_id)
    except HubError as error:
        scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
    return Decimal(0) if scribe.money is None else scribe.money.charge.amount_usd
