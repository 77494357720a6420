"""Responses that are kept: the seam to whatever keeps them, and how one project sees it.

Answering comes before keeping. When the store does not answer in time, a request that needs nothing
from it is served all the same and its response says `"store": false`; one that continues an earlier
response gets 503, because answering without the earlier turns would be wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from routing.adapters.jsonio import dicts_in, text_of
from routing.core.errors import HubError
from routing.surfaces.openai_envelope import refusal
from routing.surfaces.responses.ids import response_of_item

log = logging.getLogger("panelboard.responses")

MOST_REFERENCED = 32  # earlier responses that one request may draw items from

Item = dict[str, Any]
T = TypeVar("T")


class KeptResponse(msgspec.Struct, frozen=True):
    id: str
    created_at: int  # Unix seconds
    input: list[Item]  # all that the model saw, the turns of earlier responses included
    response: dict[str, Any]  # as it was answered

    @property
    def output(self) -> list[Item]:
        return dicts_in(self.response.get("output"))


class StoreUnavailable(Exception):
    """It cannot be read or written now; trying again may help."""


class ResponseTooLarge(Exception):
    """More than the store takes of one response."""


class ResponseStore(Protocol):
    """Every call is bound to a project: what another project keeps does not exist for it.

    None may take longer than a few seconds, because a client waits for it.
    """

    async def get(self, response_id: str, project_id: int) -> KeptResponse | None:
        """Raises StoreUnavailable."""
        ...

    async def put(self, kept: KeptResponse, project_id: int) -> None:
        """Raises StoreUnavailable and ResponseTooLarge. The same id again changes nothing."""
        ...

    async def delete(self, response_id: str, project_id: int) -> bool:
        """False when there was none. Raises StoreUnavailable."""
        ...


class History(NamedTuple):
    """What a request may refer to."""

    previous: KeptResponse | None = None
    items: dict[str, Item] = {}  # by id, for `item_reference`


NO_HISTORY = History()


class Shelf:
    """What one project keeps. `store` is None where the hub keeps nothing."""

    def __init__(self, store: ResponseStore | None, project_id: int) -> None:
        self._store = store
        self._project_id = project_id

    async def history(self, body: dict[str, Any]) -> History:
        """What `body` refers to. Most refer to nothing, and then the store is not asked.

        Raises HubError 400 and 503.
        """
        previous_id = body.get("previous_response_id")
        wanted = _references(body)
        if not isinstance(previous_id, str) and not wanted:
            return NO_HISTORY
        previous = await self._previous(previous_id) if isinstance(previous_id, str) else None
        items = _items_of(previous) if previous else {}
        await self._find_items(wanted, items)
        return History(previous, items)

    async def _previous(self, response_id: str) -> KeptResponse:
        kept = await self._get(response_id)
        if kept is None:
            raise refusal(
                "previous_response_id",
                f"Previous response with id '{response_id[:80]}' not found. It was not stored, "
                "has expired or was deleted: send the whole conversation as 'input' instead",
                "previous_response_not_found",
            )
        return kept

    async def _find_items(self, wanted: list[str], items: dict[str, Item]) -> None:
        """The newest response first: it usually holds the older turns too."""
        asked: set[str] = set()
        for item_id in reversed(wanted):
            response_id = response_of_item(item_id)
            if item_id in items or not response_id or response_id in asked:
                continue
            asked.add(response_id)
            if len(asked) > MOST_REFERENCED:
                raise refusal(
                    "input",
                    f"'input' refers to items of more than {MOST_REFERENCED} responses. Use "
                    "'previous_response_id', or send the items themselves",
                )
            kept = await self._get(response_id)
            for found_id, item in (_items_of(kept) if kept else {}).items():
                items.setdefault(found_id, item)

    async def find(self, response_id: str) -> KeptResponse:
        """Raises HubError 404 and 503."""
        kept = await self._get(response_id)
        if kept is None:
            raise _not_found(response_id)
        return kept

    async def forget(self, response_id: str) -> None:
        """Raises HubError 404 and 503."""
        if self._store is None or not await _answer_of(
            self._store.delete(response_id, self._project_id)
        ):
            raise _not_found(response_id)

    async def keep(self, kept: KeptResponse) -> bool:
        """False when it could not be kept; the log says why. Never raises."""
        if self._store is None:
            return False
        try:
            await self._store.put(kept, self._project_id)
        except (StoreUnavailable, ResponseTooLarge) as exc:
            log.warning("%s is not kept: %s", kept.id, exc)
            return False
        return True

    async def _get(self, response_id: str) -> KeptResponse | None:
        if self._store is None:
            return None
        return await _answer_of(self._store.get(response_id, self._project_id))


async def _answer_of(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except StoreUnavailable as exc:
        log.warning("stored responses cannot be reached: %s", exc)
        raise HubError(
            503,
            "response_store_unavailable",
            "Stored responses cannot be read at the moment. Try again, or send the whole "
            "conversation as 'input' without 'previous_response_id'",
            kind="server_error",
            retry_after_s=2.0,
            should_retry=True,
        ) from None


def _references(body: dict[str, Any]) -> list[str]:
    """Ids of items that are named instead of sent. `type` may be missing in a reference."""
    return [text_of(item.get("id")) for item in dicts_in(body.get("input")) if is_reference(item)]


def is_reference(item: Item) -> bool:
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and item.keys() == {"id"})


def _items_of(kept: KeptResponse) -> dict[str, Item]:
    return {text_of(item.get("id")): item for item in [*kept.input, *kept.output]}


def _not_found(response_id: str) -> HubError:
    return HubError(
        404,
        "response_not_found",
        f"Response with id '{response_id[:80]}' not found. It was not stored, has expired, was "
        "deleted, or belongs to another project",
        param="response_id",
        should_retry=False,
    )
