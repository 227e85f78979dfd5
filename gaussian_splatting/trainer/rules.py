"""The rules of a feature, checked when its class is made, each with a message that names the cure."""

from __future__ import annotations

import copy
import inspect
import textwrap
from typing import Any

from gaussian_splatting.options import Options, flat_options
from gaussian_splatting.trainer.state import State

HOOKS = ("setup", "preprocess", "losses", "after_backward", "refine", "after_step")
SEALED = ("__init__", "step", "run", "random", "states")


def check_feature(cls: type) -> None:
    """Raise TypeError where the body of a feature class breaks a rule."""
    hooks = ", ".join(HOOKS)
    for name, member in vars(cls).items():
        if name in SEALED:
            raise TypeError(f"{cls.__name__} overrides {name}(); extend a hook instead: {hooks}")
        if name in HOOKS and not _calls_super(member):
            raise TypeError(f"{cls.__name__}.{name}() must call super().{name}()")
        if name.startswith(("after_", "before_")) and name not in HOOKS and callable(member):
            raise TypeError(f"{cls.__name__}.{name}() is never called; hooks are {hooks}")
    _one_of_each_strategy(cls)
    collect(cls, Options)
    collect(cls, State)
    flat_options(option_groups(cls))


def _calls_super(member: Any) -> bool:
    code = getattr(inspect.unwrap(member), "__code__", None)
    # Zero-argument super() leaves this trace in the compiled function.
    return code is not None and "__class__" in code.co_freevars and "super" in code.co_names


def _one_of_each_strategy(cls: type) -> None:
    owners: dict[str, type] = {}
    for owner in cls.__mro__:
        strategy = vars(owner).get("strategy")
        if strategy is None:
            continue
        other = owners.setdefault(strategy, owner)
        if not issubclass(other, owner):
            raise TypeError(
                f"{cls.__name__} combines {other.__name__} and {owner.__name__}, and each is a whole {strategy}; "
                "keep one"
            )


def collect(cls: type, kind: type) -> dict[str, Any]:
    """Groups of `kind` (Options or State) along the MRO, base first. A name claimed twice is a TypeError."""
    found: dict[str, Any] = {}
    owners: dict[str, type] = {}
    for owner in reversed(cls.__mro__):
        for name, member in vars(owner).items():
            if not isinstance(member, kind):
                continue
            if name in found and not isinstance(member, type(found[name])):
                raise TypeError(
                    f"{owner.__name__} and {owners[name].__name__} both claim the group {name!r}; rename one of them"
                )
            found[name], owners[name] = member, owner
    return found


def option_groups(cls: type) -> dict[str, Options]:
    """The option groups of a trainer class with their defaults."""
    return collect(cls, Options)


def state_groups(cls: type) -> dict[str, State]:
    """Fresh copies of the state groups of a trainer class."""
    return {name: copy.deepcopy(group) for name, group in collect(cls, State).items()}


def hook_chain(cls: type, hook: str) -> list[str]:
    """The classes that act at a hook, outermost first."""
    return [owner.__name__ for owner in cls.__mro__ if hook in vars(owner)]


def described_options(cls: type) -> list[str]:
    """The options of a trainer class with their values, a paragraph of lines per group."""
    lines = []
    for group, options in option_groups(cls).items():
        values = ", ".join(f"{name}={entry.default}" for name, entry in flat_options({group: options}).items())
        lines += textwrap.wrap(values, 118, initial_indent=f"  {group}: ", subsequent_indent="    ")
    return lines
