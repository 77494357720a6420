"""Writing the hub's cost into an answer's usage object."""

from __future__ import annotations

import msgspec

from routing.adapters.base import Reply, UsageNote
from routing.adapters.jsonio import dict_of, dumps, loads
from routing.adapters.usage import noted, openai_usage_object


def with_usage_note(reply: Reply, note: UsageNote) -> Reply:
    """A reply whose `usage` carries `cost` and `cost_status`; the given one is left as it is."""
    body = dict_of(loads(reply.raw))
    shown = dict_of(body.get("usage")) or openai_usage_object(reply.usage)
    body["usage"] = noted(shown, note)
    return msgspec.structs.replace(reply, raw=dumps(body))
