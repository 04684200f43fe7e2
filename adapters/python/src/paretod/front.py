"""Fronts as plain objects."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from .messages import Measured


@dataclass(frozen=True)
class Point:
    """A measured point: what was evaluated, and what came out."""

    trial: int
    candidate: dict[str, Any]
    objectives: dict[str, Measured]

    def row(self) -> dict[str, Any]:
        """Flat, for a table: trial, parameters, objectives."""
        values = {name: measured.value for name, measured in self.objectives.items()}
        return {"trial": self.trial, **self.candidate, **values}


def measured_of(values: Mapping[str, Any]) -> dict[str, Measured]:
    """Objectives as the daemon shows them."""
    return {name: Measured(value["value"], value.get("stderr"), value.get("n"))
            for name, value in values.items()}


def _point(document: Mapping[str, Any]) -> Point:
    return Point(document["trial"], document["candidate"], measured_of(document["objectives"]))


class Front(Sequence[Point]):
    """The points that no other measured one beats in every objective, sorted by the objectives.

    ``chosen`` and ``why`` answer a question (docs/front.md); ``document`` is all that the daemon
    said."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.points = [_point(point) for point in document["points"]]
        chosen = document.get("chosen")
        self.chosen: Point | None = _point(chosen) if chosen else None
        self.why: Mapping[str, Any] | None = chosen.get("why") if chosen else None

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> list[Point]: ...
    def __getitem__(self, index: int | slice) -> Point | list[Point]:
        return self.points[index]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def frame(self) -> Any:
        """A pandas.DataFrame with a row per point; needs pandas."""
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]
        return pandas.DataFrame([point.row() for point in self.points])
