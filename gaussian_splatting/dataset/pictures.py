"""The pictures of a scene in memory: each decoded once, as bytes, in a few threads, within a stated budget."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from gaussian_splatting.dataset.decode import MAX_PIXELS
from gaussian_splatting.dataset.decoder import Decoder
from gaussian_splatting.dataset.load import Pictures, load_pictures
from gaussian_splatting.dataset.transfer import Transfer, pinned
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError

_log = logging.getLogger(__name__)
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """How much memory and how many threads pictures may take."""

    memory: int | None = None
    """Bytes of decoded pictures to keep, None for half of the free memory; the others are decoded each time."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more pixels are refused before they are decoded."""
    workers: int | None = None
    """Threads that decode. None: one per processor, four at most."""
    ahead: int = 8
    """Pictures beyond the budget that `prefetch` may hold ready."""

    def __post_init__(self) -> None:
        if (self.memory is not None and self.memory < 0) or self.max_pixels < 1 or self.ahead < 0:
            raise SceneError(f"picture limits must not be negative; found {self}")
        if self.workers is not None and self.workers < 1:
            raise SceneError(f"decoding needs at least one thread; found workers = {self.workers}")


class PictureStore:
    """The pictures of `views`, by index. Decoding starts when the first picture is asked for.

    Views are kept in order as far as the budget reaches. On a card they are kept there, as bytes, when they fit in half
    of its free memory. Else they stay in pinned memory, and each is copied while the step before it runs.
    """

    def __init__(
        self,
        views: Sequence[View],
        load_mask: bool = True,
        load_depth: bool = True,
        limits: PictureLimits | None = None,
    ) -> None:
        self.views, self.load_mask, self.load_depth = views, load_mask, load_depth
        self.limits = limits or PictureLimits()
        self.device = torch.device("cpu")
        self._home = self.device
        self._kept: dict[int, Pictures] = {}
        self._keep: range | None = None
        workers = self.limits.workers or min(4, os.cpu_count() or 1)
        self._decoder: Decoder[Pictures] = Decoder(self._decode, workers)
        self._ahead: list[int] = []
        self._transfer: Transfer | None = None

    def __getitem__(self, index: int) -> Pictures:
        if self._transfer is not None:
            return self._transfer.take(index, lambda: self._at_home(index))
        return self._at_home(index).to(self.device)

    def _at_home(self, index: int) -> Pictures:
        """The pictures of a view where they are kept."""
        pictures = self._kept.get(index)
        if pictures is None:
            keep = self._kept_indices()
            pictures = self._decoder.take(index)
            if index in self._ahead:
                self._ahead.remove(index)
            if index in keep:
                self._kept[index] = pictures = self._housed(pictures)
        return pictures

    def _housed(self, pictures: Pictures) -> Pictures:
        return pictures.to(self._home) if self._transfer is None else pinned(pictures)

    def prefetch(self, indices: Iterable[int]) -> None:
        """Decodes these views in the background unless they are in memory; `limits.ahead` of them at most.

        Where pictures are copied to a card for each step, the copy of the first two begins.
        """
        indices = list(indices)
        if self._transfer is not None:
            for index in indices[:2]:
                if index in self._kept:
                    self._transfer.start(index, lambda index=index: self._kept[index], set(indices[:2]))
        keep = self._kept_indices()
        wanted = list(islice((i for i in indices if i not in keep), self.limits.ahead))
        for stale in [i for i in self._ahead if i not in wanted]:
            self._decoder.forget(stale)
        self._ahead = wanted
        self._decoder.want(wanted)

    def load_all(self) -> None:
        """Decodes everything that the budget lets stay in memory, and so finds every damaged picture among it now.

        Masks and depth maps that hide their whole picture are named in one warning each.
        """
        hidden: dict[str, list[str]] = {"mask": [], "depth_mask": []}
        for index in self._kept_indices():
            pictures = self[index]
            for kind, names in hidden.items():
                mask = getattr(pictures, kind)
                if mask is not None and not mask.any():
                    names.append(self.views[index].name)
        for kind, names in hidden.items():
            if names:
                what = "masks" if kind == "mask" else "depth maps (or their masks)"
                shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
                warnings.warn(f"the {what} of {len(names)} views hide everything: {shown}; check them", stacklevel=2)

    def bytes_on_device(self) -> int:
        """Bytes that will stay on the device once everything within the budget is loaded."""
        return self._size_of(self._kept_indices()) if self._home == self.device else 0

    def to(self, device: Any) -> PictureStore:
        """Moves what is in memory to a device; views decoded later follow."""
        self.device = torch.device(device)
        self._home, self._transfer = self.device, None
        if self.device.type == "cuda":
            size, budget = self._size_of(self._kept_indices()), _free_cuda_memory(self.device) // 2
            if size >= budget:
                self._home, self._transfer = torch.device("cpu"), Transfer(self.device)
            where = "stay there" if self._transfer is None else "stay in pinned memory, and are copied a step ahead"
            _log.info(
                "pictures on %s: %.0f MiB, budget %.0f MiB (half of its free memory): they %s",
                self.device, size / MIB, budget / MIB, where,
            )  # fmt: skip
        for index, pictures in self._kept.items():
            self._kept[index] = self._housed(pictures.to("cpu") if self._transfer is not None else pictures)
        return self

    def _decode(self, index: int) -> Pictures:
        return load_pictures(self.views[index], self.load_mask, self.load_depth, self.limits.max_pixels)

    def _kept_indices(self) -> range:
        """The views that stay in memory. Decided, said and started once."""
        if self._keep is None:
            budget, reason = self.limits.memory, "as asked"
            if budget is None:
                shares = processes_here()
                budget, reason = free_memory() // (2 * shares), "half of the free memory"
                reason += f", for {shares} processes" if shares > 1 else ""
            self._keep = range(self._num_within(budget))
            self._say(budget, reason)
            self._decoder.want(self._keep)
        return self._keep

    def _num_within(self, budget: int) -> int:
        used = 0
        for index, view in enumerate(self.views):
            used += self._expected_bytes(view)
            if used > budget:
                return index
        return len(self.views)

    def _size_of(self, indices: range) -> int:
        return sum(self._expected_bytes(self.views[index]) for index in indices)

    def _expected_bytes(self, view: View) -> int:
        """Bytes of the decoded pictures of a view, known before decoding."""
        channels = 3 * (view.image_path is not None)
        channels += view.composited or (self.load_mask and view.has_alpha)
        channels += self.load_mask and view.image_mask_path is not None and (view.composited or not view.has_alpha)
        channels += 5 * (self.load_depth and view.depth_path is not None)
        return channels * view.width * view.height

    def _say(self, budget: int, reason: str) -> None:
        total, kept = self._size_of(range(len(self.views))), self._size_of(self._keep or range(0))
        if total == 0:
            return
        _log.info(
            "pictures of %d views: %.0f MiB decoded, budget %.0f MiB (%s)",
            len(self.views),
            total / MIB,
            budget / MIB,
            reason,
        )
        if kept < total:
            warnings.warn(
                f"only {len(self._keep or ())} of {len(self.views)} views stay in memory, the others are decoded each "
                f"time they are used; train at a lower resolution, or raise the budget of {budget / MIB:.0f} MiB",
                stacklevel=2,
            )


def processes_here() -> int:
    """How many processes of this run torchrun started on this machine; 1 without torchrun."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(text)) if text.isdecimal() else 1


def free_memory() -> int:
    """Bytes of memory that this process may still take: of the machine, and of its control group when it has one."""
    candidates = [_available_of_machine(), *_available_of_group()]
    return max(0, min(candidates))


def _available_of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30  # a system that does not say (Windows, macOS): a machine of today has this


def _available_of_group() -> list[int]:
    group = Path("/sys/fs/cgroup")
    try:
        return [int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())]
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return []


def _free_cuda_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]
