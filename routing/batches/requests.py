"""What clients say of files and batches, checked; and what they are told when it is wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from routing.batches.files import PURPOSES, UPLOADED
from routing.core.batches import (
    AUTO,
    COMPLETION_WINDOW,
    ENDPOINTS,
    LEAST_KEPT_S,
    MOST_KEPT_S,
    MOST_METADATA,
    MOST_METADATA_NAME,
    MOST_METADATA_VALUE,
    NATIVE_CHOICES,
    NumberedBadLine,
    parsed_id,
    told,
)
from routing.core.errors import HubError
from routing.gateway.parse import load_json
from routing.gateway.preferences import bad_request

MOST_UPLOADS, MOST_OF_ONE = 8, 4  # at once in one process, and of one project


class WantedBatch(msgspec.Struct, frozen=True):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None
    native: str
    output_kept_s: int | None


def read_batch(raw: bytes) -> WantedBatch:
    """Raises HubError 400."""
    body = load_json(raw)
    file_id, endpoint = body.get("input_file_id"), body.get("endpoint")
    if not isinstance(file_id, str) or not file_id:
        raise bad_request(
            "missing_input_file_id",
            "'input_file_id' must be the id of a file: upload it with POST /v1/files first",
            "input_file_id",
        )
    if endpoint not in ENDPOINTS:
        raise bad_request(
            "invalid_endpoint", f"'endpoint' must be one of {', '.join(ENDPOINTS)}", "endpoint"
        )
    if body.get("completion_window") != COMPLETION_WINDOW:
        raise bad_request(
            "invalid_completion_window",
            f"'completion_window' must be '{COMPLETION_WINDOW}'",
            "completion_window",
        )
    native = body.get("batch", AUTO)
    if native not in NATIVE_CHOICES:
        raise bad_request(
            "invalid_value", f"'batch' must be one of {', '.join(NATIVE_CHOICES)}", "batch"
        )
    return WantedBatch(
        file_id,
        str(endpoint),
        COMPLETION_WINDOW,
        _metadata(body.get("metadata")),
        native,
        _kept_s(body.get("output_expires_after")),
    )


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > MOST_METADATA:
        raise bad_request(
            "invalid_metadata",
            f"'metadata' must be an object of at most {MOST_METADATA} texts",
            "metadata",
        )
    for name, text in value.items():
        fits = len(name) <= MOST_METADATA_NAME and "\x00" not in name
        if not fits or not isinstance(text, str) or len(text) > MOST_METADATA_VALUE:
            raise bad_request(
                "invalid_metadata",
                f"metadata names may have {MOST_METADATA_NAME} characters, and each value must be "
                f"a text of at most {MOST_METADATA_VALUE}",
                f"metadata.{name[:60]}",
            )
        if "\x00" in text:
            raise bad_request("invalid_metadata", "metadata must not hold a NUL", "metadata")
    return value


def _kept_s(value: Any, param: str = "output_expires_after") -> int | None:
    """How long after its making a file is kept."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("anchor") != "created_at":
        raise bad_request(
            "invalid_value", f'\'{param}\' needs "anchor": "created_at" and "seconds"', param
        )
    return kept_s(value.get("seconds"), f"{param}.seconds")


def kept_s(value: Any, param: str) -> int:
    if type(value) is not int or not LEAST_KEPT_S <= value <= MOST_KEPT_S:
        raise bad_request(
            "invalid_value", f"'{param}' must be {LEAST_KEPT_S} to {MOST_KEPT_S}", param
        )
    return value


def file_kept_s(fields: Mapping[str, str]) -> int | None:
    """As forms write it: `expires_after[seconds]`."""
    seconds = fields.get("expires_after[seconds]")
    if seconds is None:
        return None
    if fields.get("expires_after[anchor]") != "created_at":
        raise bad_request(
            "invalid_value", "'expires_after[anchor]' must be 'created_at'", "expires_after[anchor]"
        )
    is_whole = seconds.isascii() and seconds.isdigit() and len(seconds) < 12
    return kept_s(int(seconds) if is_whole else None, "expires_after[seconds]")


# --- lists ----------------------------------------------------------------------------------------------
def limit_of(query: Mapping[str, str], usual: int, most: int) -> int:
    text = query.get("limit")
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise bad_request("invalid_value", f"'limit' must be 1 to {most}", "limit")
    return int(text[:9])


def after_of(query: Mapping[str, str], kind: str) -> UUID | None:
    text = query.get("after")
    if not text:
        return None
    found = parsed_id(kind, text)
    if found is None:
        raise bad_request("invalid_value", f"'after' must be an id that begins {kind}", "after")
    return found


def purpose_of(query: Mapping[str, str]) -> str:
    """ "" for all of them."""
    purpose = query.get("purpose", "")
    if purpose and purpose not in PURPOSES:
        raise bad_request(
            "invalid_value",
            f"'purpose' must be one of {', '.join(PURPOSES)}, or be left out",
            "purpose",
        )
    return purpose


def is_descending(query: Mapping[str, str]) -> bool:
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise bad_request("invalid_value", "'order' must be asc or desc", "order")
    return order == "desc"


def utc(unix_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_s, dt.UTC)


# --- refusals -------------------------------------------------------------------------------------------
def bad_lines(errors: Sequence[NumberedBadLine]) -> HubError:
    """The first one in words, all of them in `detail`."""
    number, bad = errors[0]
    more = f" ({len(errors) - 1} more lines are wrong)" if len(errors) > 1 else ""
    where = f"Line {number}: " if number is not None else ""
    return HubError(
        400, bad.code, f"{where}{bad.message}{more}", param="file", detail={"errors": told(errors)}
    )


def unknown(path: str) -> HubError:
    return HubError(
        404,
        "unknown_url",
        f"There is nothing at {path[:200]}. The hub serves /v1/files, /v1/files/<id> and its "
        "/content, /v1/batches, /v1/batches/<id> and its /cancel",
        should_retry=False,
    )


def no_file(name: str) -> HubError:
    return HubError(
        404,
        "file_not_found",
        f"No such file: {name[:80]}. It was never uploaded, has expired, was deleted, or belongs "
        "to another project",
        param="file_id",
        should_retry=False,
    )


def no_batch(name: str) -> HubError:
    return HubError(
        404,
        "batch_not_found",
        f"No such batch: {name[:80]}. It was never made, or belongs to another project",
        param="batch_id",
        should_retry=False,
    )


def file_in_use() -> HubError:
    return HubError(
        409,
        "file_in_use",
        "A batch that has not ended reads this file. Cancel the batch first, or wait for its end",
        should_retry=False,
    )


def wrong_purpose(purpose: str) -> HubError:
    return bad_request(
        "invalid_input_file",
        f"The file's purpose is '{purpose}'. A batch reads files that were uploaded with the "
        f"purpose '{UPLOADED}'",
        "input_file_id",
    )


def cannot_cancel(status: str) -> HubError:
    return HubError(
        409,
        "batch_not_cancellable",
        f"The batch is {status}: there is nothing left to cancel",
        should_retry=False,
    )


def too_many_uploads() -> HubError:
    return HubError(
        429,
        "too_many_uploads",
        f"This gateway takes {MOST_UPLOADS} files at once, {MOST_OF_ONE} of one project. Try again "
        "in a few seconds",
        retry_after_s=2.0,
        should_retry=True,
    )


def unavailable() -> HubError:
    return HubError(
        503,
        "batch_store_unavailable",
        "Files and batches cannot be reached at the moment. Try again in a few seconds",
        kind="server_error",
        retry_after_s=2.0,
        should_retry=True,
    )
