"""Parameters of a search space, as the daemon reads them.

Each function describes one parameter without its name; ``when`` makes it active only while an
earlier categorical, boolean or integer parameter has one of the given values:
``real(0, 1, when={"activation": ["gelu"]})``.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Parameter = dict[str, Any]
When = Mapping[str, Any] | None


def _parameter(kind: str, when: When, **fields: Any) -> Parameter:
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": kind, **given, **({"when": dict(when)} if when else {})}


def real(low: float, high: float, *, log: bool = False, when: When = None) -> Parameter:
    """A number from low to high; with ``log`` it is explored on a log scale."""
    return _parameter("real", when, low=low, high=high, log=log or None)


def integer(low: int, high: int, *, when: When = None) -> Parameter:
    """A whole number from low to high, both included."""
    return _parameter("integer", when, low=low, high=high)


def categorical(choices: Sequence[str], *, when: When = None) -> Parameter:
    """One of the choices."""
    return _parameter("categorical", when, choices=list(choices))


def boolean(*, when: When = None) -> Parameter:
    """True or False."""
    return _parameter("boolean", when)


def affine(size: int, *, low: float | None = None, high: float | None = None,
           labels: Sequence[str] | None = None, when: When = None) -> Parameter:
    """Coefficients that sum to one, of any sign."""
    return _parameter("affine", when, size=size, low=low, high=high,
                      labels=None if labels is None else list(labels))


def simplex(size: int, *, labels: Sequence[str] | None = None, when: When = None) -> Parameter:
    """Shares: not negative, and they sum to one."""
    return _parameter("simplex", when, size=size, labels=None if labels is None else list(labels))


def subset(choices: Sequence[str], *, least: int | None = None, most: int | None = None,
           when: When = None) -> Parameter:
    """Some of the choices, at least ``least`` and at most ``most``."""
    return _parameter("subset", when, choices=list(choices), least=least, most=most)


def permutation(choices: Sequence[str], *, when: When = None) -> Parameter:
    """All of the choices in some order."""
    return _parameter("permutation", when, choices=list(choices))


def schedule(low: float, high: float, *, least: int, most: int | None = None, whole: bool = False,
             choices: Sequence[str] | None = None, mask: Sequence[str] | None = None,
             when: When = None) -> Parameter:
    """Ordered steps between low and high, each with a choice and a mask if these are given."""
    return _parameter("schedule", when, low=low, high=high, least=least, most=most,
                      whole=whole or None, choices=None if choices is None else list(choices),
                      mask=None if mask is None else list(mask))


def named(space: Mapping[str, Parameter]) -> list[Parameter]:
    """The parameters as the protocol lists them."""
    return [{"name": name, **parameter} for name, parameter in space.items()]


def goals(objectives: Mapping[str, str]) -> list[dict[str, str]]:
    """Objectives as the protocol lists them, from {"loss": "min"}."""
    words = {"min": "minimize", "minimize": "minimize", "max": "maximize", "maximize": "maximize"}
    for name, goal in objectives.items():
        if goal not in words:
            raise ValueError(f'the goal of objective "{name}" has to be "min" or "max", not {goal!r}')
    return [{"name": name, "goal": words[goal]} for name, goal in objectives.items()]
