"""Values and messages of the evaluator protocol (evaluators/process/protocol.hpp in the sources)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Measured:
    """A mean with its standard error and the number of samples, where they are known."""

    value: float
    stderr: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Cost:
    """What an attempt used up.  Seconds default to the wall time that the daemon measures; money
    is in millionths of the evaluator's currency."""

    seconds: float | None = None
    tokens: int = 0
    money_micros: int = 0


Objectives = Mapping[str, Any]
"""A number or a Measured by name."""


@dataclass(frozen=True)
class Result:
    """All that an evaluation may say.  A constraint is met when it is not greater than 0;
    ``examples`` are values on single examples by objective, at most 4,096 each."""

    objectives: Objectives
    constraints: Sequence[float] | None = None
    metrics: Mapping[str, float] | None = None
    examples: Mapping[str, Sequence[float]] | None = None
    cost: Cost | None = None


def _measured(value: Any) -> Any:
    if isinstance(value, Measured):
        fields: dict[str, Any] = {"value": float(value.value)}
        if value.stderr is not None:
            fields["stderr"] = float(value.stderr)
        if value.n is not None:
            fields["n"] = int(value.n)
        return fields
    return float(value)


def values(what: str, values: Objectives) -> dict[str, Any]:
    written = {}
    for name, value in values.items():
        try:
            written[str(name)] = _measured(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f'{what} "{name}" has to be a number, not {value!r}') from error
    return written


def lists(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {str(name): [float(x) for x in items] for name, items in values.items()}


def cost_fields(cost: Cost) -> dict[str, Any]:
    fields: dict[str, Any] = {"tokens": int(cost.tokens), "money_micros": int(cost.money_micros)}
    if cost.seconds is not None:
        fields["seconds"] = float(cost.seconds)
    return fields


def result_message(returned: Any, names: Sequence[str]) -> dict[str, Any]:
    """The message, but for its id, that says what a function returned.  A plain number stands for
    the only one of ``names``."""
    if isinstance(returned, Result):
        message = result_message(returned.objectives, names)
        if returned.constraints is not None:
            message["constraints"] = [float(x) for x in returned.constraints]
        if returned.metrics is not None:
            message["metrics"] = values("metric", returned.metrics)
        if returned.examples is not None:
            message["examples"] = lists(returned.examples)
        if returned.cost is not None:
            message["cost"] = cost_fields(returned.cost)
        return message
    if isinstance(returned, Mapping):
        return {"type": "result", "objectives": values("objective", returned)}
    if len(names) == 1:
        return {"type": "result", "objectives": values("objective", {names[0]: returned})}
    raise TypeError("an evaluator has to return a number per objective, as "
                    f'{{"name": number}} or paretod.Result, not {type(returned).__name__}')


def error_message(kind: str, text: str) -> dict[str, Any]:
    """The message, but for its id, of a failure: infeasible, transient or fatal."""
    return {"type": "error", "kind": kind, "message": text[:_LONGEST_TEXT]}
