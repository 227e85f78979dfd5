"""What happens when training fails: the last finished step is saved where that is possible, and the cause is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gaussian_splatting.errors import SplatError, TrainingError
from gaussian_splatting.runs.card_memory import rounded

if TYPE_CHECKING:
    from gaussian_splatting.runs.training import TrainingRun

_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_cpu")
_LATE_CUDA_WORDS = ("device-side assert",)


def explained(error: Exception, run: TrainingRun) -> Exception:
    """The error to raise for `error`: the same kind where the user is to blame or to help, with the way to go on.

    An error that is our mistake is given back as it is, after saving.
    """
    step, num = run.trainer.curr_step, run.trainer.workers.count(run.trainer.model)
    saved, failure = _rescued(run)
    where = _where(run, saved, None if failure == _first_line(error) else failure)
    if isinstance(error, SplatError):
        return type(error)(f"{str(error).rstrip('.')}. {where}")
    if is_out_of_memory(error) and run.finished_steps == 0:
        return TrainingError(
            f"out of memory before the first step, with {num} Gaussians ({_first_line(error)}). {where} "
            f"{_fewer_at_the_start(num)}"
        )
    if is_out_of_memory(error):
        return TrainingError(
            f"step {step}: out of memory with {num} Gaussians ({_first_line(error)}). {where} "
            f"Use smaller pictures (-r 2), or fewer Gaussians (--max_gaussians){_on_a_card(error, num)}"
        )
    if any(word in str(error) for word in _LATE_CUDA_WORDS):
        return TrainingError(
            f"at or shortly before step {step}: a loss term, a gradient or an index was not finite or not valid on the "
            f"CUDA device ({_first_line(error)}). {where}"
        )
    run.say(f"step {step} failed. {where}")
    return error


@contextmanager
def preparation() -> Iterator[None]:
    """Within, a scene is loaded and a trainer made; TrainingError with what helps where memory runs out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory before the first step ({_first_line(error)}). {_fewer_at_the_start(None)}"
        ) from error


def _fewer_at_the_start(num: int | None) -> str:
    """What helps before anything was added to the Gaussians at the start, as many as `num` where that is known."""
    fewer = f"random:{rounded(num // 2)}" if num else "random:100000"
    return (
        f"Use smaller pictures (-r 2), start with fewer Gaussians (--init {fewer}), or give a lower --sh_degree; "
        "--max_gaussians bounds what is added later and does not help here"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on the processor or on a card."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)


def _on_a_card(error: Exception, num: int) -> str:
    """What helps besides when it was the memory of a card."""
    if "CUDA" not in str(error):
        return ""
    return (
        f": --max_gaussians {rounded(num * 4 // 5)} leaves room for a step. Where much is reserved and not allocated, "
        "set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
    )


def _rescued(run: TrainingRun) -> tuple[Path | None, str | None]:
    try:
        return run.rescue_checkpoint(), None
    except Exception as error:
        # The failure that brought us here matters more; this one is told beside it.
        return None, _first_line(error)


def _where(run: TrainingRun, saved: Path | None, failure: str | None) -> str:
    if not run.writes:
        return ""
    if saved is not None:
        return f"The last finished step is saved in {saved}."
    steps = run.checkpoints.steps()
    older = f"The last checkpoint is {run.checkpoints.file(steps[-1])}." if steps else "There is no checkpoint."
    return older if failure is None else f"{older} Saving the last step failed too: {failure.rstrip('.')}."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
