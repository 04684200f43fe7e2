"""Merged weights that a trial of an evaluator of type ``merge`` comes with, without a copy.

    @paretod.evaluator(objectives={"accuracy": "max"})
    def score(trial):
        with paretod.merged(trial, "torch") as weights:
            model.load_state_dict(weights.state_dict())
            ...

The file is mapped privately: what is written to a tensor stays in this process.  Tensors may be kept
beyond the ``with`` block; the mapping lives as long as they do, although the file goes away when the
trial is answered.
"""
from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from .evaluator import Trial

_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8,
          "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_TORCH = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
          "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
          "U16": "uint16", "U8": "uint8", "BOOL": "bool"}


class TensorInfo(NamedTuple):
    """What the file says of a tensor."""

    dtype: str  # as safetensors spells it: "F32", "BF16"
    shape: tuple[int, ...]
    offset: int  # of its first byte in the file
    count: int  # of numbers


class Weights(Mapping[str, Any]):
    """The tensors of a safetensors file by name: numpy arrays or torch tensors that share the
    file's memory.  ``framework``: "numpy", "torch", or None for torch where it is imported already
    and numpy otherwise."""

    def __init__(self, path: str | os.PathLike[str], framework: str | None = None) -> None:
        if framework not in (None, "numpy", "torch"):
            raise ValueError(f'framework has to be "numpy" or "torch", not {framework!r}')
        if framework is None:
            import sys
            framework = "torch" if "torch" in sys.modules else "numpy"
        self.framework = framework
        with open(path, "rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        length = int.from_bytes(self._memory[:8], "little")
        header = json.loads(self._memory[8:8 + length])
        header.pop("__metadata__", None)
        self.info: dict[str, TensorInfo] = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            dtype = entry["dtype"]
            if dtype not in _SIZES:
                raise ValueError(f'{path}: tensor "{name}" has the unknown dtype {dtype}')
            self.info[name] = TensorInfo(dtype, tuple(entry["shape"]), 8 + length + begin,
                                         (end - begin) // _SIZES[dtype])

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Nothing to do: the mapping goes with the last tensor of it."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.info)

    def __len__(self) -> int:
        return len(self.info)

    def __getitem__(self, name: str) -> Any:
        return self.torch(name) if self.framework == "torch" else self.numpy(name)

    def state_dict(self) -> dict[str, Any]:
        """All tensors, as ``load_state_dict`` takes them."""
        return {name: self[name] for name in self}

    def memory(self, name: str) -> memoryview:
        """The tensor's bytes."""
        info = self.info[name]
        return memoryview(self._memory)[info.offset:info.offset + info.count * _SIZES[info.dtype]]

    def numpy(self, name: str) -> Any:
        """The tensor as a numpy array; bfloat16 needs the package ml_dtypes."""
        import numpy
        info = self.info[name]
        if info.dtype == "BF16":
            try:
                from ml_dtypes import bfloat16
            except ImportError:
                raise TypeError(f'tensor "{name}" is bfloat16, which numpy lacks: install ml_dtypes, use '
                                'framework="torch", or set "dtype": "float32" in the recipe') from None
            dtype = numpy.dtype(bfloat16)
        else:
            dtype = numpy.dtype(_NUMPY[info.dtype])
        return numpy.frombuffer(self._memory, dtype, info.count, info.offset).reshape(info.shape)

    def torch(self, name: str) -> Any:
        """The tensor as one of torch, on the CPU."""
        import torch
        info = self.info[name]
        dtype = getattr(torch, _TORCH[info.dtype])
        if info.count == 0:
            return torch.empty(info.shape, dtype=dtype)
        buffer: Any = self._memory
        offset = info.offset
        if offset % _SIZES[info.dtype] != 0:  # torch wants its numbers aligned
            buffer, offset = bytearray(self.memory(name)), 0
        return torch.frombuffer(buffer, dtype=dtype, count=info.count, offset=offset).reshape(info.shape)


def merged(trial: Trial, framework: str | None = None) -> Weights:
    """The merged weights of a trial, for use in a ``with`` statement."""
    if trial.weights is None:
        raise ValueError('the trial comes with no weights: the evaluator has to be of type "merge" '
                         "in the configuration of the daemon")
    return Weights(trial.weights, framework)
