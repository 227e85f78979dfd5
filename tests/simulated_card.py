"""A CUDA card that is not there: tensors that say they lie on one, and what a real card would refuse or wait for.

Values are computed on the processor. A tensor of the card and one of the processor do not mix, as on a card; a fresh
`torch.empty` holds NaN there; whatever makes the host wait for the card is written down with the line that did it.
Within a backward pass nothing is checked: autograd works on the plain tensors.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CARD = torch.device("cuda", 0)

_GETTERS = {
    Tensor.device.__get__: lambda on_card: CARD if on_card else torch.device("cpu"),  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: lambda on_card: on_card,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: lambda on_card: not on_card,  # type: ignore[attr-defined]
    Tensor.get_device: lambda on_card: 0 if on_card else -1,
}
_WAITS = {
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "argwhere", "masked_select", "unique",
    "bincount", "equal", "allclose", "inv", "inverse", "svd", "linalg_inv", "linalg_svd", "linalg_solve", "is_nonzero",
}  # fmt: skip
_SENT = {"tensor", "as_tensor", "asarray", "new_tensor"}
_NO_SCALARS = {
    "cat", "concat", "stack", "einsum", "matmul", "mm", "bmm", "linear", "equal", "searchsorted", "gather", "index_add",
    "index_add_", "index_copy_", "scatter", "scatter_", "scatter_add_", "dot",
}  # fmt: skip
_OTHER_DEVICE = {"_has_compatible_shallow_copy_type", "copy_", "backward", "grad", "type_as", "register_hook", "set_"}
_UNSET = {"empty", "empty_like", "new_empty", "empty_strided"}


class CardTensor(Tensor):
    """A tensor of the card."""

    @property
    def absgrad(self) -> Tensor:
        """What gsplat puts there in a backward pass, on the card."""
        if "_absgrad" not in self.__dict__:
            raise AttributeError("absgrad")
        found = self.__dict__["_absgrad"]
        found.__class__ = CardTensor
        return found

    @absgrad.setter
    def absgrad(self, value: Tensor) -> None:
        self.__dict__["_absgrad"] = value

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {}, [])


class SimulatedCard(TorchFunctionMode):
    """Within, the device "cuda" exists. `waits` has what the host waited for: (function, file, line)."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, str, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {}, self.waits)


class CardGenerator(torch.Generator):
    """A generator of the card."""

    device = property(lambda self: CARD)  # type: ignore[assignment]


def _call(func: Any, args: Any, kwargs: dict[str, Any], waits: list[tuple[str, str, int]]) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        name = getattr(func, "__name__", str(func))
        if func in _GETTERS:
            return _GETTERS[func](isinstance(args[0], CardTensor))
        given = list(_tensors((args, kwargs)))
        cards = [value for value in given if isinstance(value, CardTensor)]
        if name in ("numpy", "__array__") and cards:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if name in ("to", "cpu", "cuda"):
            return _moved(name, args, kwargs, waits)
        if name == "pin_memory":
            assert not cards, "cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
            return args[0].clone()
        wanted = _wanted(kwargs)
        _check_generator(kwargs, wanted, cards)
        if cards:
            _check_mixture(func, name, args, given)
        if _makes_wait(name, args, kwargs, cards, wanted):
            waits.append((name, *_place()))
        found = func(*args, **kwargs)
        on_card = bool(cards) if wanted is None else wanted
        if name == "__set__":  # parameter.data = ..., parameter.grad = ...
            _take_over(args)
            return found
        if on_card:
            _put_on_card(found, given)
        if on_card and name in _UNSET and found.is_floating_point():
            found.fill_(float("nan"))
        return found


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _wanted(kwargs: dict[str, Any]) -> bool | None:
    """Whether the keyword `device` asks for the card; it is taken for the processor's from here on."""
    if kwargs.get("device") is None:
        return None
    wanted = torch.device(kwargs["device"]).type == "cuda"
    kwargs["device"] = "cpu"
    return wanted


def _check_generator(kwargs: dict[str, Any], wanted: bool | None, cards: list[Tensor]) -> None:
    generator = kwargs.get("generator")
    if generator is None:
        return
    on_card = bool(cards) if wanted is None else wanted
    if isinstance(generator, CardGenerator) != on_card:
        expected = "cuda" if on_card else "cpu"
        raise RuntimeError(f"Expected a '{expected}' device type for generator but found another")


def _check_mixture(func: Any, name: str, args: Any, given: list[Tensor]) -> None:
    if name in _OTHER_DEVICE or name == "__set__":
        return
    strangers = [value for value in given if not isinstance(value, CardTensor)]
    if name in ("__getitem__", "__setitem__", "index_put_", "index_select"):
        indexed, index = args[0], list(_tensors(args[1:2]))
        if isinstance(indexed, CardTensor):
            strangers = [value for value in given[1:] if not any(value is one for one in index)]
            strangers = [one for one in strangers if not isinstance(one, CardTensor)] if index else []
    if name not in _NO_SCALARS:
        strangers = [value for value in strangers if value.ndim]
    if strangers:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({name} of {[(type(value).__name__, tuple(value.shape)) for value in given]})"
        )


def _makes_wait(name: str, args: Any, kwargs: dict[str, Any], cards: list[Tensor], wanted: bool | None) -> bool:
    if name in _SENT:
        return bool(wanted) or (name == "new_tensor" and bool(cards))
    if not cards:
        return False
    if name == "__getitem__":
        index = list(_tensors(args[1:2]))
        lists = isinstance(args[1], list)
        return lists or any(one.dtype == torch.bool or not isinstance(one, CardTensor) for one in index if one.ndim)
    if name == "__setitem__":
        index, value = list(_tensors(args[1:2])), args[2]
        several = isinstance(value, Tensor) and value.ndim > 0
        crossing = isinstance(value, Tensor) and value.ndim > 0 and not isinstance(value, CardTensor)
        return crossing or any(
            (one.dtype == torch.bool and several) or not isinstance(one, CardTensor) for one in index
        )
    if name == "copy_":
        crossing = any(not isinstance(one, CardTensor) for one in _tensors(args))
        return crossing and not (kwargs.get("non_blocking") or any(one is True for one in args))
    if name == "repeat_interleave":
        return len(list(_tensors(args))) > 1 and "output_size" not in kwargs
    return name in _WAITS


def _moved(name: str, args: Any, kwargs: dict[str, Any], waits: list[tuple[str, str, int]]) -> Tensor:
    """`to`, `cpu` and `cuda`."""
    value, *rest = args
    rest += [kwargs.pop("other")] if "other" in kwargs else []
    goal: Any = {"cpu": "cpu", "cuda": CARD}.get(name, kwargs.pop("device", None))
    dtype = kwargs.pop("dtype", None)
    blocking = not (kwargs.pop("non_blocking", False) or any(one is True for one in rest))
    for one in rest:
        if isinstance(one, Tensor):
            goal, dtype = CARD if isinstance(one, CardTensor) else "cpu", one.dtype
        elif isinstance(one, (str, torch.device)):
            goal = one
        elif isinstance(one, torch.dtype):
            dtype = one
    here = isinstance(value, CardTensor)
    there = here if goal is None else torch.device(goal).type == "cuda"
    found = value if dtype is None or dtype == value.dtype else Tensor.to(value, dtype)
    if here != there:
        if blocking:
            waits.append((f"to {'the card' if there else 'the processor'}", *_place()))
        found = found.clone() if found is value else found
    if there and found is not value:
        _put_on_card(found, [])
    return found


def _put_on_card(found: Any, given: list[Tensor]) -> None:
    for value in _tensors(found):
        if not any(value is one for one in given):
            value.__class__ = CardTensor


def _take_over(args: Any) -> None:
    """`tensor.data = value`: the tensor is now where the value is."""
    target, value = args[0], args[1] if len(args) > 1 else None
    if isinstance(value, CardTensor) and not isinstance(target, CardTensor):
        is_parameter = isinstance(target, torch.nn.Parameter)
        target.__class__ = CardTensor
        if is_parameter:
            target._is_param = True  # type: ignore[attr-defined]


def _place() -> tuple[str, int]:
    """The innermost line outside of torch that is at work."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            return frame.filename, frame.lineno or 0
    return "?", 0


def on_card(value: Tensor) -> bool:
    """Whether a tensor lies on the simulated card."""
    return isinstance(value, CardTensor)


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Within, tensors of the card are plain memory: for what stands in for a kernel."""
    with torch._C.DisableTorchFunction():
        yield


def returned(*values: Any) -> tuple[Any, ...]:
    """What a stand-in for a kernel gives back: new tensors of the card."""
    for value in values:
        if isinstance(value, Tensor):
            value.__class__ = CardTensor
    return values
