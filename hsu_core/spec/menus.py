"""What can be chosen from a menu? The members of a union of specs, read from the union itself.

A menu is written once, as the union of its members. Filters, catalogs and tests derive their lists from it here.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

__all__ = ["kinds", "members"]


def members(menu: object) -> tuple[type[Any], ...]:
    """The classes of a union `A | B`, in its order; also of unions in it, and of `Annotated[…, discriminator]`."""
    if isinstance(menu, type):
        return (menu,)
    choices = get_args(menu)[:1] if get_origin(menu) is Annotated else get_args(menu)
    return tuple(member for choice in choices for member in members(choice))


def kinds(menu: object, *, tag: str = "kind") -> tuple[str, ...]:
    """The values of `kind` (or another tag) of the members of a union, in its order, each once."""
    every = (name for member in members(menu) for name in get_args(member.model_fields[tag].annotation))
    return tuple(dict.fromkeys(every))
