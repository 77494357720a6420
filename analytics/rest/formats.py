"""JSON and CSV, chosen by Accept or `?format=`."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import override

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(text: str) -> str:
    """A spreadsheet must not run what somebody chose as a name."""
    return f"'{text}" if text.startswith(_FORMULA) else text


class CsvRenderer(BaseRenderer):
    """The rows under `data`, as RFC 4180 in UTF-8. `text_columns` of the page are guarded."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    @override
    def render(
        self,
        data: Mapping[str, Any],
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        view = (renderer_context or {})["view"]
        return csv_of(data["data"], view.csv_columns(data), view.csv_text_columns)


def csv_of(
    rows: Iterable[Mapping[str, Any]], columns: list[str], text_columns: frozenset[str]
) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            guarded(str(row[name])) if name in text_columns else row[name] for name in columns
        )
    return out.getvalue().encode()


class Negotiation(DefaultContentNegotiation):
    @override
    def filter_renderers(self, renderers: Any, format: str) -> Any:
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            offered = ", ".join(str(renderer.format) for renderer in renderers)
            raise ParseError(f"format must be one of: {offered}.")
        return found


def add_etag(request: Request, response: Response) -> Response:
    """Answers 304 when the client has these very bytes already."""

    def finish(rendered: HttpResponse) -> HttpResponseBase | None:
        etag = f'"{hashlib.sha256(rendered.content).hexdigest()[:32]}"'
        rendered["ETag"] = etag
        rendered["Cache-Control"] = "private, no-cache"
        answer = get_conditional_response(request._request, etag=etag, response=rendered)
        return None if answer is rendered else answer

    response.add_post_render_callback(finish)
    return response
