"""Catalog files on disk, the shipped ones among them."""

from __future__ import annotations

import json
from pathlib import Path

from routing.catalog.document import CatalogInvalid, Problem

SHIPPED = Path(__file__).resolve().parent / "data"


def read(path: Path) -> list[tuple[str, object]]:
    """One file, or every `*.json` of a folder in the order of their names.

    Raises CatalogInvalid for what cannot be read or is not JSON.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise CatalogInvalid([Problem(str(path), "", "the folder holds no .json file")])
    return [(file.name, _decoded(file)) for file in files]


def _decoded(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise CatalogInvalid([Problem(str(file), "", exc.strerror or str(exc))]) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CatalogInvalid([Problem(str(file), "", f"is not JSON: {exc}")]) from None
