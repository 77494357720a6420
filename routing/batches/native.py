"""Batches that providers work on as a whole: which ones they are, and when to look at them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from routing.adapters.jsonio import BadJson
from routing.batches import book, native_store
from routing.batches.native_store import NotOurs, Undecided
from routing.batches.native_takeover import NoRoom, Tools
from routing.batches.native_visit import Visit
from routing.batches.providers.registry import way_of
from routing.core.batches import NATIVE, BadLine
from routing.core.catalog import Endpoint, Snapshot
from routing.core.cursor import Cursor
from routing.core.errors import HubError, UpstreamError
from routing.core.names import resolve

log = logging.getLogger(__name__)

URLS = frozenset({"/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/embeddings"})
STEP_WITHIN_S = 300.0  # to decide, which holds all lines of a batch


class NativeBatches:
    def __init__(self, tools: Tools, load_snapshot: Callable[[Cursor], Snapshot]) -> None:
        self._tools = tools
        self._threads = tools.threads
        self._load_snapshot = load_snapshot

    async def step(self) -> bool:
        """Decides for one batch, or does one step of one that is at a provider. False where
        nothing is due. Raises DatabaseUnavailable."""
        if await self._threads.run(self._decide_one, STEP_WITHIN_S):
            return True
        one = await self._threads.run(native_store.take_due)
        if one is None:
            return False
        snapshot = await self._threads.run(self._load_snapshot)
        visit = Visit(self._tools, one, snapshot)
        try:
            await visit.go()
        except NotOurs:
            log.warning("the batch %s at %s is another worker's by now", one.batch_id, visit.where)
        except (UpstreamError, BadJson, NoRoom, OSError) as exc:
            why = str(exc) or "there is no room to write it down"
            log.warning("the batch %s at %s has to wait: %s", one.batch_id, visit.where, why)
            await visit.again()
        finally:
            await visit.close()
        return True

    # --- whether ----------------------------------------------------------------------------------
    def _decide_one(self, cursor: Cursor) -> bool:
        found = native_store.undecided(cursor)
        if found is None:
            return False
        endpoint = self._endpoint_for(cursor, found)
        if endpoint is not None:
            native_store.go_native(cursor, found.batch_id, self._tools.new_id(), endpoint.id)
        elif found.native == NATIVE:
            book.fail(cursor, found.batch_id, [(None, _CANNOT)])
        else:
            native_store.go_local(cursor, found.batch_id)
        return True

    def _endpoint_for(self, cursor: Cursor, found: Undecided) -> Endpoint | None:
        """The one that all lines name, if its provider takes batches."""
        if not found.model or found.url not in URLS:
            return None
        snapshot = self._load_snapshot(cursor)
        try:
            named = resolve(found.model, snapshot)
        except HubError:
            return None
        if not named.pinned_provider or found.key_digest not in snapshot.callers:
            return None
        for endpoint in snapshot.endpoints_of.get(named.model, ()):
            if endpoint.provider.slug == named.pinned_provider and way_of(endpoint):
                return endpoint
        return None


_CANNOT = BadLine(
    "no_native_batch",
    "'batch' is 'native', and there is no one provider that all lines name, by a model such as "
    "org/Model:provider, and that takes batches. Name one, or leave 'batch' out",
    "batch",
)
