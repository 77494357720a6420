"""The decision, told to a client that asked for it: beside its answer, or with its error."""

from __future__ import annotations

from routing.adapters.base import Headers
from routing.core.errors import HubError
from routing.core.explanation import explained, header_text
from routing.gateway.scribe import Scribe

DECISION = b"x-panelboard-decision"


def decision_headers(scribe: Scribe) -> Headers:
    """Nothing where it was not asked for, or where nothing was decided."""
    wishes, decision = scribe.wishes, scribe.decision
    if wishes is None or not wishes.explain or decision is None:
        return []
    return [(DECISION, header_text(decision, scribe.gateway.snapshot.endpoints))]


def explain_refusal(scribe: Scribe, error: HubError) -> Headers:
    """Adds the decision to the error's detail too, whole."""
    headers = decision_headers(scribe)
    if headers and scribe.decision is not None:
        told = explained(scribe.decision, scribe.gateway.snapshot.endpoints)
        error.detail = {**(error.detail or {}), "decision": told}
    return headers
