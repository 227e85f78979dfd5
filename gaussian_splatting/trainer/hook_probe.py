"""Counts how often every class acts at every hook: each exactly once, with N changing in `refine` only."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.rules import HOOKS


def check_chains(cls: type[BaseTrainer], make: Callable[..., BaseTrainer], steps: int) -> None:
    """Raise AssertionError when a class of `cls` acts never or twice at one of its hooks, or changes N elsewhere."""
    with counted(cls) as counts:
        trainer = make()
        assert trainer.dataset is not None
        for _ in trainer.run(trainer.dataset, steps):
            pass
    for owner, hook in counted_hooks(cls):
        expected = 1 if hook == "setup" else steps
        found = counts[owner, hook]
        assert found == expected, (
            f"{cls.__name__}: {owner.__name__}.{hook}() ran {found} times instead of {expected}; "
            f"every override must call super().{hook}() once, whatever the step"
        )


def counted_hooks(cls: type[BaseTrainer]) -> list[tuple[type, str]]:
    """Every (class, hook) of the trainer."""
    return [(owner, hook) for owner in cls.__mro__ for hook in HOOKS if hook in vars(owner)]


@contextmanager
def counted(cls: type[BaseTrainer]) -> Iterator[Counter[tuple[type, str]]]:
    """Within, every call of a hook is counted by (class, hook)."""
    counts: Counter[tuple[type, str]] = Counter()
    originals = {(owner, hook): vars(owner)[hook] for owner, hook in counted_hooks(cls)}
    try:
        for (owner, hook), original in originals.items():
            setattr(owner, hook, _counting(original, owner, hook, counts))
        yield counts
    finally:
        for (owner, hook), original in originals.items():
            setattr(owner, hook, original)


def _counting(original: Any, owner: type, hook: str, counts: Counter[tuple[type, str]]) -> Any:
    if hook == "losses":

        @functools.wraps(original)
        def terms(self: BaseTrainer, *arguments: Any) -> Iterator[Any]:
            counts[owner, hook] += 1
            yield from original(self, *arguments)

        return terms

    @functools.wraps(original)
    def call(self: BaseTrainer, *arguments: Any) -> Any:
        counts[owner, hook] += 1
        before = len(self.model)
        result = original(self, *arguments)
        elsewhere = f"{owner.__name__}.{hook}() changes the number of Gaussians; only refine() may"
        assert hook == "refine" or len(self.model) == before, elsewhere
        return result

    return call
