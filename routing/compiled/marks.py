"""What classes of compiled modules say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

AnyClass = TypeVar("AnyClass", bound=type)


def laid_out_by_python(marked: AnyClass) -> AnyClass:
    """For a class whose base is not compiled: only its methods are.

    mypyc gives other classes memory of a fixed shape, and would put their fields where those of an
    interpreted base lie. It leaves classes with a decorator that it does not know ordinary ones.
    """
    return marked


if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_: object) -> Callable[[AnyClass], AnyClass]:
        """What mypyc reads: `allow_interpreted_subclasses=True` for a class with heirs elsewhere."""
        return lambda marked: marked
