"""Fronts as plain objects."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

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


@dataclass(frozen=True)
class Prediction:
    """Of one objective: its expected value, the standard deviation of a measurement there, and what
    of it is uncertainty of the mean, which more measurements take away."""

    mean: float
    sd: float
    sd_mean: float


@dataclass(frozen=True)
class PredictedPoint:
    """A point that nobody has measured, as a job's surrogate sees it."""

    candidate: dict[str, Any]
    objectives: dict[str, Prediction]
    nearest_trial: int | None  #: the measured trial closest to it
    nearest_distance: float | None  #: in parts of the sampled box
    extrapolated: bool

    def row(self) -> dict[str, Any]:
        """Flat, for a table: parameters, objectives, their deviations."""
        values = {name: value.mean for name, value in self.objectives.items()}
        deviations = {name + "_sd": value.sd for name, value in self.objectives.items()}
        return {**self.candidate, **values, **deviations, "nearest_trial": self.nearest_trial}


def measured_of(values: Mapping[str, Any]) -> dict[str, Measured]:
    """Objectives as the daemon shows them."""
    return {name: Measured(value["value"], value.get("stderr"), value.get("n"))
            for name, value in values.items()}


def _point(document: Mapping[str, Any]) -> Point:
    return Point(document["trial"], document["candidate"], measured_of(document["objectives"]))


def _predicted_point(document: Mapping[str, Any]) -> PredictedPoint:
    nearest = document["nearest"] or {}
    objectives = {name: Prediction(value["mean"], value["sd"], value["sd_mean"])
                  for name, value in document["objectives"].items()}
    return PredictedPoint(document["candidate"], objectives, nearest.get("trial"),
                          nearest.get("distance"), document["extrapolated"])


P = TypeVar("P", Point, PredictedPoint)


class _Points(Sequence[P], Generic[P]):
    """``chosen`` and ``why`` answer a question (docs/front.md); ``document`` is all that the daemon
    said."""

    def __init__(self, document: Mapping[str, Any], read: Callable[[Mapping[str, Any]], P]) -> None:
        self.document = document
        self.points = [read(point) for point in document["points"]]
        chosen = document.get("chosen")
        self.chosen: P | None = read(chosen) if chosen else None
        self.why: Mapping[str, Any] | None = chosen.get("why") if chosen else None

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> list[P]: ...
    def __getitem__(self, index: int | slice) -> P | list[P]:
        return self.points[index]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[P]:
        return iter(self.points)

    def frame(self) -> Any:
        """A pandas.DataFrame with a row per point; needs pandas."""
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]
        return pandas.DataFrame([point.row() for point in self.points])


class Front(_Points[Point]):
    """The points that no other measured one beats in every objective, sorted by the objectives."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document, _point)


class PredictedFront(_Points[PredictedPoint]):
    """The front that a job's surrogate predicts; nothing in it is measured."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document, _predicted_point)
