"""A device that is not there: tensors that say they are elsewhere and are computed on the CPU.

On a machine without a GPU this runs the code that a GPU would run, and fails where a GPU would: at an operation between
tensors of two devices. (Two exceptions are real ones: numbers without dimension, and indices that lie on the CPU.) It says
nothing about speed or about kernels; numbers are the CPU's. The name of the device is 'meta', one that torch knows and that
needs no driver.

    with pretend_device() as device:
        images = torch.rand(4, 3, 32, 32, device=device)
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")
# Where a GPU would have been waited for, since the list was cleared: copies to it or from it, values and sizes read from it.
WAITS = []
SIZED_BY_VALUES = ("aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal", "aten::_local_scalar_dense")
COPIES = ("aten::copy_", "aten::_to_copy", "aten::set_", "aten::_copy_from")
PLAIN_GENERATOR, GENERATORS = torch.Generator, set()  # where a generator is; an operation sees only what it is in C++
TAKES_CPU_INDICES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class Pretended(torch.Tensor):
    """A wrapper whose ``device`` is the pretended one and whose values are those of the CPU tensor ``held``."""

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=ELSEWHERE, requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self):
        return f"Pretended({self.held!r})"

    def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
        return self.held.new_tensor(data, dtype=dtype).to(ELSEWHERE if device is None else device)

    def tolist(self):
        WAITS.append("tolist")
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def run(function, args, kwargs):
    """One operation: devices checked, values computed on the CPU, results on the device that they belong to."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, Pretended)]
    name = function._schema.name
    asked = kwargs.get("device")
    if ours and name not in COPIES:
        # an index may lie on the CPU; what is indexed, and what is put there, may not
        checked = [args[0], *args[2:3]] if name in TAKES_CPU_INDICES else tensors
        strangers = [x for x in checked if isinstance(x, torch.Tensor) and not isinstance(x, Pretended) and x.dim() > 0]
        if strangers:
            shapes = [list(x.shape) for x in strangers]
            raise RuntimeError(f"{name}: tensors of shapes {shapes} are on the CPU, others elsewhere")
    moved = bool(ours) if asked is None else torch.device(asked).type == ELSEWHERE.type
    for generator in (x for x in [*args, *kwargs.values()] if isinstance(x, PLAIN_GENERATOR)):
        if (generator._cdata in GENERATORS) != moved:
            raise RuntimeError(f"{name}: a generator on the CPU draws for tensors elsewhere, or the other way round")
    if name in TAKES_CPU_INDICES and not isinstance(args[0], Pretended) and ours:
        raise RuntimeError(f"{name}: indices elsewhere into a tensor on the CPU")
    if waits_for_values(name, args, ours) or (name in COPIES and waits_for_copy(args, kwargs, moved)):
        WAITS.append(name)
    held = lambda x: x.held if isinstance(x, Pretended) else torch.device("cpu") if isinstance(x, torch.device) else x  # noqa: E731
    with torch._C._DisableTorchDispatch():
        result = function(*tree_map(held, args), **tree_map(held, kwargs))
    if name == "aten::_local_scalar_dense" or name == "aten::equal":
        return result
    same = {id(x.held): x for x in ours}  # an operation in place gives back the very tensor

    def back(x):
        if not isinstance(x, torch.Tensor):
            return x
        if id(x) in same:
            mine = same[id(x)]
            return mine
        return Pretended(x) if moved else x

    return tree_map(back, result)


def waits_for_values(name: str, args, ours: list) -> bool:
    """Whether a GPU's values must be there before the operation can return: those asked for, or the result's size."""
    chosen = args[1] if name in TAKES_CPU_INDICES else ()
    return bool(ours) and (name in SIZED_BY_VALUES or any(x is not None and x.dtype == torch.bool for x in chosen))


def waits_for_copy(args, kwargs, moved: bool) -> bool:
    """Whether it goes from the one device to the other without being told not to wait."""
    first = isinstance(args[0], Pretended)
    between = first != (moved if len(args) == 1 else isinstance(args[1], Pretended))
    return between and not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


class _Generator(torch.Generator):
    """A CPU generator that says it is where it was asked for."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, device="cpu")
        made.on = torch.device(device)
        (GENERATORS.add if made.on.type == ELSEWHERE.type else GENERATORS.discard)(made._cdata)
        return made

    def __init__(self, device="cpu"):
        pass

    @property
    def device(self):
        return self.on


@contextlib.contextmanager
def pretend_device() -> Iterator[torch.device]:
    plain = torch.autocast

    def autocast(device_type, *args, **more):
        return contextlib.nullcontext() if device_type == ELSEWHERE.type else plain(device_type, *args, **more)

    def from_data(make):
        def made(data, *args, device=None, **more):
            device = data.device if device is None and isinstance(data, torch.Tensor) else device
            return make(data, *args, **more) if device is None else make(data, *args, **more).to(device)

        return made

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("torch.autocast", autocast))
        stack.enter_context(mock.patch("torch.Generator", _Generator))
        for name in ("tensor", "as_tensor"):  # these make their tensors without asking the mode below
            stack.enter_context(mock.patch(f"torch.{name}", from_data(getattr(torch, name))))
        stack.enter_context(_Mode())
        yield ELSEWHERE
