"""What can go wrong between a client and the daemon."""
from __future__ import annotations

from dataclasses import dataclass


class ParetodError(Exception):
    """Of this package's client."""


class Unavailable(ParetodError):
    """No daemon answers, or it is starting or stopping."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field, named by a JSON pointer such as /budget/trials."""

    pointer: str
    message: str


class Refused(ParetodError):
    """The daemon's refusal: its problem document (RFC 9457)."""

    def __init__(self, status: int, kind: str, detail: str, problems: list[FieldProblem]) -> None:
        lines = [detail, *(f"{problem.pointer}: {problem.message}" for problem in problems)]
        super().__init__("\n  ".join(lines))
        self.status = status
        self.kind = kind  # stable: "/problems/invalid-spec"
        self.detail = detail
        self.problems = problems
