"""Faults that take the place of an answer."""

from __future__ import annotations

from collections.abc import Callable

from routing.simulator.calls import JSON_TYPE, Call
from routing.simulator.envelopes import stream_error
from routing.simulator.faults import Fault
from routing.simulator.session import ENCODER

PAGE = b"""<!doctype html>
<html><head><title>Just a moment...</title></head>
<body><h1>We are checking your connection</h1></body></html>
"""


def _status(call: Call, fault: Fault) -> None:
    call.answer_trouble(call.trouble_of(fault), "fault")


def _refuse(call: Call, _fault: Fault) -> None:
    call.end("fault")
    call.exchange.close()


def _html_200(call: Call, _fault: Fault) -> None:
    headers = call.headers((b"content-type", b"text/html; charset=utf-8"))
    call.answer(200, headers, PAGE, "fault")


def _error_200(call: Call, fault: Fault) -> None:
    body = stream_error(call.provider.persona.envelope, call.trouble_of(fault))
    call.answer(200, call.headers(JSON_TYPE), ENCODER.encode(body), "fault")


def _empty_200(call: Call, _fault: Fault) -> None:
    call.answer(200, call.headers(JSON_TYPE), b"", "fault")


EARLY_FAULTS: dict[str, Callable[[Call, Fault], None]] = {
    "status": _status,
    "refuse": _refuse,
    "html_200": _html_200,
    "error_200": _error_200,
    "empty_200": _empty_200,
}
