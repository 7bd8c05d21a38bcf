"""`ResultTypes`: the declared types of a task's result and progress, and their type variables."""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from typing import Generic

    # Type checkers know this module without an installation.
    from typing_extensions import TypeVar

    R_co = TypeVar("R_co", covariant=True, default=Any)
    """The type of a task's result."""
    G_co = TypeVar("G_co", covariant=True, default=Any)
    """The type of what a run writes while it runs: its progress."""

    class OfResults(Generic[R_co, G_co]):
        """A class of tasks whose results and progress have declared types."""

else:
    R_co = G_co = Any

    class OfResults:
        """A class of tasks whose results and progress have declared types.

        It accepts any number of type arguments at run time: the type variables have defaults, which
        `typing.Generic` supports only from Python 3.13 on.
        """

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


@frozen
class ResultTypes:
    """The types to which the result and the progress of a task are decoded. `bytes` leaves them as stored."""

    result: Any = bytes
    progress: Any = bytes


UNDECLARED = ResultTypes()
"""The types of a task that declares none: results are bytes."""
