from __future__ import annotations

from routing.gateway.answer_headers import MAX_HEADER_CHARS, fixed_headers

NAME = b"x-panelboard-dropped-params"


def named(*dropped: str) -> bytes:
    return dict(fixed_headers(False, "groq", "m", "balanced", 1, dropped, False).pairs)[NAME]


def test_what_was_left_out_is_named() -> None:
    assert named("seed", "logit_bias") == b"seed,logit_bias"


def test_names_that_would_end_the_line_or_fill_the_head_do_neither() -> None:
    assert named("a\r\nset-cookie: b") == b"a??set-cookie: b"
    many = named(*(f"made_up_{n}" for n in range(10_000)))
    assert len(many) == MAX_HEADER_CHARS
    assert many.endswith(b"...")
