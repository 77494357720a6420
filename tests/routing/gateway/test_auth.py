from __future__ import annotations

import pytest

from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.gateway.auth import caller_of, digest_in, digest_of
from tests.routing.factories import endpoint, snapshot

PEPPER = b"p" * 32
TOKEN = b"pb_live_" + b"a" * 46


def caller(**more: object) -> Caller:
    fields: dict[str, object] = {
        "key_id": 1,
        "key_name": "k",
        "project_id": 1,
        "organization_id": 1,
        **more,
    }
    return Caller(**fields)  # type: ignore[arg-type]


def ask(header: bytes | None, known: Caller | None = None, *, is_live: bool = True) -> Caller:
    callers = {digest_of(TOKEN, PEPPER): known or caller()}
    world = snapshot(endpoint("groq", 1), callers=callers)
    headers = [] if header is None else [(b"authorization", header)]
    return caller_of(digest_in(headers, PEPPER), world, 1000.0, is_live=is_live)


def refused(*args: object, **kwargs: object) -> HubError:
    with pytest.raises(HubError) as caught:
        ask(*args, **kwargs)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("header", [b"Bearer " + TOKEN, b"bearer " + TOKEN, TOKEN])
def test_a_known_key_stands_for_its_caller(header: bytes) -> None:
    assert ask(header).key_id == 1


def test_unknown_malformed_and_expired_keys_get_one_and_the_same_answer() -> None:
    unknown = refused(b"Bearer pb_live_" + b"b" * 46)
    malformed = refused(b"Bearer sk-' OR 1=1 --")
    expired = refused(b"Bearer " + TOKEN, caller(expires_at=999.0))
    internal = refused(b"Bearer " + TOKEN, caller(kind="probe"))
    for error in (unknown, malformed, expired, internal):
        assert (error.status, error.code, error.message) == (
            401,
            "invalid_api_key",
            unknown.message,
        )
        assert error.should_retry is False


def test_without_a_key_the_error_says_which_header_to_send() -> None:
    error = refused(None)
    assert error.status == 401
    assert "Authorization: Bearer" in error.message


def test_while_postgres_is_away_an_unknown_key_is_503_and_a_known_one_is_served() -> None:
    error = refused(b"Bearer pb_live_" + b"b" * 46, is_live=False)
    assert (error.status, error.code) == (503, "key_check_unavailable")
    assert ask(b"Bearer " + TOKEN, is_live=False).key_id == 1


def test_a_malformed_key_is_401_even_while_postgres_is_away() -> None:
    assert refused(b"Bearer x", is_live=False).status == 401


def test_a_key_may_come_as_anthropics_clients_send_it() -> None:
    world = snapshot(endpoint("groq", 1), callers={digest_of(TOKEN, PEPPER): caller()})
    digest = digest_in([(b"x-api-key", TOKEN)], PEPPER)
    assert caller_of(digest, world, 1000.0, is_live=True).key_id == 1
