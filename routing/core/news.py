"""What the processes of a hub tell each other of their traffic."""

from __future__ import annotations

import msgspec

from routing.core.rooms import Room
from routing.core.sightings import LengthSighting, Sighting
from routing.core.turns import Turn


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one process learned since it last told."""

    endpoints: list[Sighting] = []
    lengths: list[LengthSighting] = []
    turns: list[Turn] = []
    rooms: list[Room] = []


NO_NEWS = News()
encode_news = msgspec.json.Encoder().encode
decode_news = msgspec.json.Decoder(News).decode
