"""The control address of the simulator, for tests and for demonstrations. JSON in and out.

GET    /_control/health       what is played and how fast
GET    /_control/providers    slugs, paths, model ids
POST   /_control/faults       {"fault", "provider"?, "model"?, "times"?, ...}: see faults.Fault
GET    /_control/faults       the rules with their hits; DELETE clears all, or `?id=` one
GET    /_control/journal      rows `?since=<seq>&provider=<slug>`; DELETE forgets what has ended
GET    /_control/violations   what should never have been sent; DELETE forgets them
GET    /_control/requests     the last bodies received, when started with keep_requests
POST   /_control/requests     {"keep": true or false}: keeps them from now on, or forgets them
POST   /_control/limits       {"provider", "requests_per_minute": n or null}: answer 429 beyond
POST   /_control/batches      {"provider"?, "end"?, "answers"?, ...}: see batches.book.Script
POST   /_control/prices       {"provider", "model", "meter", "usd"}: a new price from now on
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from routing.simulator.batches.book import Script
from routing.simulator.faults import BadFault, parse_fault
from routing.simulator.http11 import Exchange
from routing.simulator.prices import row_from
from routing.simulator.session import ENCODER
from routing.simulator.world import Endpoint

if TYPE_CHECKING:
    from routing.simulator.service import Service

Query = dict[str, str]
Handler = Callable[["Service", Query, Any], Any]


class BadControl(ValueError):
    """Answered with 400 and this message."""


def handle(service: Service, exchange: Exchange) -> None:
    request = exchange.request
    name = request.path.removeprefix("/_control/").strip("/")
    handler = ROUTES.get((request.method, name))
    if handler is None:
        known = ", ".join(f"{method} /_control/{path}" for method, path in ROUTES)
        _answer(exchange, 404, {"error": f"there is no {request.method} /_control/{name}: {known}"})
        return
    query = {key: values[-1] for key, values in parse_qs(request.query).items()}
    try:
        body = msgspec.json.decode(request.body) if request.body else None
        _answer(exchange, 200, handler(service, query, body))
    except (BadControl, BadFault, msgspec.DecodeError, msgspec.ValidationError) as exc:
        _answer(exchange, 400, {"error": str(exc)})


def _answer(exchange: Exchange, status: int, body: Any) -> None:
    exchange.respond(status, [(b"content-type", b"application/json")], ENCODER.encode(body))


def _whole(query: Query, name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise BadControl(f"{name} must be a whole number") from None


def _health(service: Service, _query: Query, _body: Any) -> Any:
    return {
        "status": "ok",
        "providers": len(service.world),
        "endpoints": sum(len(p.endpoints) for p in service.world.values()),
        "running": len(service.running),
        "speed": service.options.speed,
        "seed": service.options.seed,
    }


def _providers(service: Service, _query: Query, _body: Any) -> Any:
    return [
        {
            "slug": provider.slug,
            "name": provider.name,
            "dialect": provider.dialect,
            "path": f"/{provider.slug}{provider.base_path}",
            "profile": provider.persona.profile,
            "models": sorted(provider.endpoints),
        }
        for provider in service.world.values()
    ]


def _faults(service: Service, _query: Query, _body: Any) -> Any:
    return {"faults": service.faults.rules}


def _add_fault(service: Service, _query: Query, body: Any) -> Any:
    fault = parse_fault(body)
    if fault.provider not in {"", "*"} and fault.provider not in service.world:
        raise BadControl(f"provider {fault.provider!r} is not played here")
    return service.faults.add(fault)


def _clear_faults(service: Service, query: Query, _body: Any) -> Any:
    service.faults.clear(_whole(query, "id", 0) or None)
    return _faults(service, query, None)


def _script_batch(service: Service, _query: Query, body: Any) -> Any:
    script = msgspec.convert(body, Script)
    service.batches.scripts.append(script)
    return script


def _journal(service: Service, query: Query, _body: Any) -> Any:
    rows = service.journal.since(_whole(query, "since", 0), query.get("provider", ""))
    return {"rows": rows}


def _clear_journal(service: Service, _query: Query, _body: Any) -> Any:
    service.journal.clear()
    service.received.clear()
    return {"rows": service.journal.since(0)}


def _violations(service: Service, _query: Query, _body: Any) -> Any:
    return {"violations": service.journal.violations}


def _clear_violations(service: Service, _query: Query, _body: Any) -> Any:
    service.journal.violations.clear()
    return {"violations": []}


def _requests(service: Service, _query: Query, _body: Any) -> Any:
    if not service.keeps_requests:
        raise BadControl("requests are not kept; start with keep_requests, or POST {keep: true}")
    return {"requests": service.received}


def _keep_requests(service: Service, _query: Query, body: Any) -> Any:
    """{"keep": true or false}"""
    keep = body.get("keep") if isinstance(body, dict) else None
    if not isinstance(keep, bool):
        raise BadControl("keep must be true or false")
    service.keeps_requests = keep
    if not keep:
        service.received.clear()
    return {"keep": keep}


def _limit(service: Service, _query: Query, body: Any) -> Any:
    """{"provider", "requests_per_minute": n or null}"""
    if not isinstance(body, dict) or body.get("provider") not in service.world:
        raise BadControl("name a provider that is played here")
    limit = body.get("requests_per_minute")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise BadControl("requests_per_minute must be a whole number or null")
    service.limits.enforce(body["provider"], limit)
    return {"provider": body["provider"], "requests_per_minute": limit}


def _price(service: Service, _query: Query, body: Any) -> Any:
    """{"provider", "model", "meter", "usd"}: the provider changes a price, now."""
    if not isinstance(body, dict):
        raise BadControl("give provider, model, meter and usd")
    endpoint = _endpoint(service, body)
    try:
        row = row_from(
            {
                "meter": body["meter"],
                "usd": body["usd"],
                "effective_from": dt.datetime.now(dt.UTC),
            }
        )
    except (KeyError, ArithmeticError) as exc:
        raise BadControl(f"meter and usd (a decimal string) are needed: {exc!r}") from None
    endpoint.prices = (*endpoint.prices, row)
    return {"provider": body["provider"], "model": endpoint.upstream_model, "price": row}


def _endpoint(service: Service, body: dict[str, Any]) -> Endpoint:
    provider = service.world.get(body.get("provider", ""))
    if provider is None:
        raise BadControl(f"provider {body.get('provider')!r} is not played here")
    for endpoint in provider.endpoints.values():
        if body.get("model") in {endpoint.upstream_model, endpoint.model}:
            return endpoint
    raise BadControl(f"{provider.slug} has no model {body.get('model')!r}")


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "health"): _health,
    ("GET", "providers"): _providers,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "journal"): _journal,
    ("DELETE", "journal"): _clear_journal,
    ("GET", "violations"): _violations,
    ("DELETE", "violations"): _clear_violations,
    ("GET", "requests"): _requests,
    ("POST", "requests"): _keep_requests,
    ("POST", "limits"): _limit,
    ("POST", "batches"): _script_batch,
    ("POST", "prices"): _price,
}
