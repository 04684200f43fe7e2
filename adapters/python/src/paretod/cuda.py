"""Merges of models in GPU memory: the kernels of libparetod_cuda on PyTorch tensors, by pointer.

Nothing is copied: sources stay where they are, results go straight into the parameters of a live
model, and all work is put on PyTorch's current stream.  Needs PyTorch and the shared library, which
``cmake -S evaluators/cuda -B build/cuda && cmake --build build/cuda`` makes; it is looked for in
$PARETOD_CUDA_LIBRARY, beside this file, and by the system's loader.

    sources = paretod.cuda.Sources(model, [torch.load(f, "cuda") for f in files])
    paretod.cuda.merge_into(model, sources.candidate([0.2, 0.5, 0.3]))

Methods and numbers mean what they mean to the merge evaluator: all of its methods but della_linear
and della.
"""
from __future__ import annotations

import ctypes
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ParetodError

if TYPE_CHECKING:
    import torch

VERSION = 2
_ERROR_BYTES = 1024
_WITHOUT_BASE = ("linear", "slerp", "fisher")
_PATHS = {"automatic": 0, "ordinary": 1, "tensor_cores": 2}


class CudaMergeError(ParetodError):
    """The merge was refused, or the device failed (then CUDA does not recover in this process)."""


class _Rule(ctypes.Structure):
    _fields_ = [("method", ctypes.c_char_p), ("normalize", ctypes.c_int),
                ("rescale", ctypes.c_char_p), ("gamma", ctypes.c_double),
                ("groups", ctypes.c_uint32), ("deltas", ctypes.c_int), ("no_base", ctypes.c_int),
                ("keep_ties", ctypes.c_int), ("path", ctypes.c_int)]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("elements", ctypes.c_uint64),
                ("group", ctypes.c_uint32), ("source_type", ctypes.c_int),
                ("base_type", ctypes.c_int), ("output_type", ctypes.c_int),
                ("base", ctypes.c_void_p), ("sources", ctypes.POINTER(ctypes.c_void_p)),
                ("outputs", ctypes.POINTER(ctypes.c_void_p)),
                ("importances", ctypes.POINTER(ctypes.c_void_p)), ("importance_type", ctypes.c_int)]


class _Candidate(ctypes.Structure):
    _fields_ = [("weights", ctypes.POINTER(ctypes.c_double)),
                ("densities", ctypes.POINTER(ctypes.c_double)),
                ("lambdas", ctypes.POINTER(ctypes.c_double)), ("ts", ctypes.POINTER(ctypes.c_double)),
                ("seed", ctypes.c_uint64)]


def load_library(path: str | os.PathLike[str] | None = None) -> ctypes.CDLL:
    """The shared library, with the types of its functions."""
    beside = pathlib.Path(__file__).with_name("libparetod_cuda.so")
    name = path or os.environ.get("PARETOD_CUDA_LIBRARY") or (
        str(beside) if beside.exists() else "libparetod_cuda.so")
    try:
        library = ctypes.CDLL(os.fspath(name))
    except OSError as error:
        raise CudaMergeError(f"{name} does not load: {error}; build it with cmake -S evaluators/cuda, "
                             "and name it in PARETOD_CUDA_LIBRARY") from error
    found = library.paretod_cuda_version()
    if found != VERSION:
        raise CudaMergeError(f"{name} has version {found} of the interface, not {VERSION}")
    text, size = ctypes.c_char_p, ctypes.c_size_t
    library.paretod_cuda_plan_create.argtypes = [
        ctypes.c_int, ctypes.POINTER(_Rule), size, size, ctypes.POINTER(_Tensor), size,
        ctypes.POINTER(ctypes.c_void_p), text, size]
    library.paretod_cuda_plan_run.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Candidate), size, ctypes.c_void_p, text, size]
    library.paretod_cuda_plan_destroy.argtypes = [ctypes.c_void_p]
    library.paretod_cuda_plan_destroy.restype = None
    for name_of in ("input_bytes", "output_bytes"):
        function = getattr(library, f"paretod_cuda_plan_{name_of}")
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_uint64
    return library


@dataclass(frozen=True)
class Candidate:
    """The numbers of one merge, one row per group of tensors; made by ``Sources.candidate``."""

    sources: Sources
    weights: tuple[tuple[float, ...], ...]
    densities: tuple[tuple[float, ...], ...] | None = None
    lambdas: tuple[float, ...] | None = None
    ts: tuple[float, ...] | None = None
    seed: int = 0


class Sources:
    """Models to merge, resident on one GPU, and the rule they are merged by.

    ``like``: a model or state dict that says which tensors there are.  ``sources`` and ``base``:
    state dicts with the same names and shapes, contiguous, on the GPU of ``like``.  ``groups``: by
    name, the prefixes of tensors that have coefficients of their own; all others are one more group,
    the last.  Tensors that are not floating-point are left alone.  ``normalize`` and ``rescale``:
    None is what the method usually does.  ``importances``: of fisher, a state dict for each source,
    nowhere negative.  What is in all of these may not change while they are merged from.
    """

    def __init__(self, like: Any, sources: Sequence[Mapping[str, torch.Tensor]],
                 base: Mapping[str, torch.Tensor] | None = None, *, method: str = "linear",
                 normalize: bool | None = None, rescale: str | None = None, gamma: float = 0.01,
                 groups: Mapping[str, Sequence[str]] | None = None, path: str = "automatic",
                 keep_ties: bool = False,
                 importances: Sequence[Mapping[str, torch.Tensor]] | None = None, library: ctypes.CDLL | None = None) -> None:
        self.models = list(sources)
        self.base = base
        self.importances = list(importances or [])
        if self.importances and len(self.importances) != len(self.models):
            raise CudaMergeError(f"importances has to be {len(self.models)} state dicts, one per source")
        self.groups = dict(groups or {})
        self.library = library or load_library()
        if path not in _PATHS:
            raise CudaMergeError(f"path has to be one of {', '.join(_PATHS)}")
        self._rule = _Rule(method.encode(), -1 if normalize is None else int(normalize),
                           rescale.encode() if rescale else None, gamma, len(self.groups) + 1, 0,
                           int(base is None and method not in _WITHOUT_BASE), int(keep_ties), _PATHS[path])
        self.names = [name for name, tensor in _state(like).items() if tensor.is_floating_point()]
        self._plans: dict[tuple[int, ...], _Plan] = {}

    def candidate(self, weights: Any = None, densities: Any = None, lambdas: Any = None,
                  seed: int = 0, *, t: Any = None) -> Candidate:
        """One list of numbers per source, or one such list per group; ``lambdas``, and ``t`` of
        slerp (which takes no weights): one number, or one per group."""
        if weights is None:
            weights = [1.0] * len(self.models)
        return Candidate(self, self._rows(weights, "weights"),
                         None if densities is None else self._rows(densities, "densities"),
                         self._numbers(lambdas, "lambdas"), self._numbers(t, "t"), seed)

    def _numbers(self, values: Any, what: str) -> tuple[float, ...] | None:
        rows = len(self.groups) + 1
        if values is None:
            return None
        numbers = tuple(values) if isinstance(values, Sequence) else (values,) * rows
        if len(numbers) != rows:
            raise CudaMergeError(f"{what} has to be a number, or {rows} of them")
        return numbers

    def _rows(self, values: Any, what: str) -> tuple[tuple[float, ...], ...]:
        rows = len(self.groups) + 1
        listed = [list(row) if hasattr(row, "__len__") else row for row in values]
        if not any(isinstance(row, list) for row in listed):
            listed = [listed] * rows
        if len(listed) != rows or any(not isinstance(row, list) or len(row) != len(self.models)
                                      for row in listed):
            raise CudaMergeError(f"{what} has to be {len(self.models)} numbers, one per source, or "
                                 f"{rows} such lists, one per group")
        return tuple(tuple(float(value) for value in row) for row in listed)

    def plan(self, targets: Sequence[Mapping[str, torch.Tensor]]) -> _Plan:
        """For merges into these state dicts; kept as long as their memory is the same."""
        key = tuple(target[name].data_ptr() for target in targets for name in self.names)
        if key not in self._plans:
            if len(self._plans) >= 8:
                self._plans.clear()
            self._plans[key] = _Plan(self, targets)
        return self._plans[key]

    def group_of(self, name: str) -> int:
        for index, prefixes in enumerate(self.groups.values()):
            if any(name.startswith(prefix) for prefix in prefixes):
                return index
        return len(self.groups)


class _Plan:
    def __init__(self, sources: Sources, targets: Sequence[Mapping[str, torch.Tensor]]) -> None:
        self.library = sources.library
        self.handle = ctypes.c_void_p()
        device = None
        kept = []  # arrays that the library reads
        rows = []
        written = set()
        for name in sources.names:
            like = targets[0][name]
            if like.data_ptr() in written and like.numel() > 0:
                continue  # tied to a tensor that has been seen
            written.add(like.data_ptr())
            device = like.device if device is None else device
            parts = [("an output", target[name]) for target in targets]
            parts += [(f"source {k}", _tensor(model, name, f"source {k}"))
                      for k, model in enumerate(sources.models)]
            if sources.base is not None:
                parts.append(("the base", _tensor(sources.base, name, "the base")))
            parts += [(f"importance {k}", _tensor(model, name, f"importance {k}"))
                      for k, model in enumerate(sources.importances)]
            for what, tensor in parts:
                _check(name, what, tensor, like, device)
            outputs = [target[name] for target in targets]
            models = [model[name] for model in sources.models]
            squares = [model[name] for model in sources.importances]
            if any(len({tensor.dtype for tensor in some}) > 1 for some in (models, squares, outputs)):
                raise CudaMergeError(f"the sources of {name} have to be of one dtype, and so have the "
                                     "importances and the outputs")
            base = None if sources.base is None else sources.base[name]
            columns = [(ctypes.c_void_p * len(some))(*(tensor.data_ptr() for tensor in some))
                       for some in (models, outputs, squares)]
            kept.append(columns)
            rows.append(_Tensor(
                name.encode(), like.numel(), sources.group_of(name), _type(models[0]),
                _type(base) if base is not None else 0, _type(like),
                base.data_ptr() if base is not None else None,
                ctypes.cast(columns[0], ctypes.POINTER(ctypes.c_void_p)),
                ctypes.cast(columns[1], ctypes.POINTER(ctypes.c_void_p)),
                ctypes.cast(columns[2], ctypes.POINTER(ctypes.c_void_p)) if squares else None,
                _type(squares[0]) if squares else 0))
        table = (_Tensor * len(rows))(*rows)
        self.device = device
        index = 0 if device is None or device.index is None else device.index
        self._call("create", index, ctypes.byref(sources._rule), len(sources.models), len(targets),
                   table, len(rows), ctypes.byref(self.handle))
        # The plan points to this memory.
        self.kept = ([tensor for target in targets for tensor in target.values()], sources.models,
                     sources.base, sources.importances)

    def run(self, candidates: Sequence[Candidate], stream: int) -> None:
        rows = []
        kept = []
        for candidate in candidates:
            arrays = [_doubles(values) for values in (
                [x for row in candidate.weights for x in row],
                None if candidate.densities is None else [x for row in candidate.densities for x in row],
                candidate.lambdas, candidate.ts)]
            kept.append(arrays)
            rows.append(_Candidate(*arrays, candidate.seed))
        self._call("run", self.handle, (_Candidate * len(rows))(*rows), len(rows), stream)

    @property
    def input_bytes(self) -> int:
        return int(self.library.paretod_cuda_plan_input_bytes(self.handle))

    @property
    def output_bytes(self) -> int:
        return int(self.library.paretod_cuda_plan_output_bytes(self.handle))

    def _call(self, name: str, *arguments: Any) -> None:
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        function = getattr(self.library, f"paretod_cuda_plan_{name}")
        if function(*arguments, error, _ERROR_BYTES) != 0:
            raise CudaMergeError(error.value.decode(errors="replace"))

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.paretod_cuda_plan_destroy(self.handle)


def merge_into(model: Any, candidate: Candidate | Sequence[Candidate]) -> None:
    """Merges into the parameters and buffers of ``model``, a module or state dict on the GPU.

    Several candidates of the same sources go into as many models at once, in one pass over the
    sources: ``merge_into([a, b], [first, second])``.  Returns when the work is on PyTorch's current
    stream.  The model's own tensors may not be among the sources: clone them first.
    """
    import torch

    many = not isinstance(candidate, Candidate)
    candidates = list(candidate) if many else [candidate]
    models = list(model) if many else [model]
    if len(candidates) != len(models) or not candidates:
        raise CudaMergeError("as many models as candidates are needed, and at least one")
    sources = candidates[0].sources
    if any(other.sources is not sources for other in candidates):
        raise CudaMergeError("candidates of one call have to be of the same sources")
    targets = [_state(one) for one in models]
    for name in sources.names:
        for target in targets:
            _tensor(target, name, "a model")
    plan = sources.plan(targets)
    plan.run(candidates, torch.cuda.current_stream(plan.device).cuda_stream)


def _state(model: Any) -> Mapping[str, torch.Tensor]:
    return model if isinstance(model, Mapping) else model.state_dict()


def _tensor(state: Mapping[str, torch.Tensor], name: str, what: str) -> torch.Tensor:
    if name not in state:
        raise CudaMergeError(f"{what} has no tensor {name}")
    return state[name]


def _check(name: str, what: str, tensor: torch.Tensor, like: torch.Tensor,
           device: torch.device) -> None:
    if tensor.shape != like.shape:
        raise CudaMergeError(f"{what} of {name} has shape {list(tensor.shape)}, the model "
                             f"{list(like.shape)}")
    if tensor.device.type != "cuda" or tensor.device != device:
        raise CudaMergeError(f"{what} of {name} is on {tensor.device}; all have to be on one GPU")
    if not tensor.is_contiguous():
        raise CudaMergeError(f"{what} of {name} is not contiguous; call .contiguous()")


def _type(tensor: torch.Tensor) -> int:
    name = str(tensor.dtype)
    try:
        return {"torch.float32": 0, "torch.float16": 1, "torch.bfloat16": 2}[name]
    except KeyError:
        raise CudaMergeError(f"{name} is not merged; float32, float16 and bfloat16 are") from None


def _doubles(values: Sequence[float] | None) -> Any:
    if values is None:
        return None
    return (ctypes.c_double * len(values))(*values)
