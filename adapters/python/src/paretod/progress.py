"""A line on a terminal that follows a job."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

_WIDTH = 30


class ProgressLine:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = 0

    def show(self, job: Mapping[str, Any]) -> None:
        """Replaces the line by what GET /v1/jobs/{job} says now."""
        progress = job["progress"]
        told, budget = progress["told"], max(progress["budget_trials"], 1)
        full = min(_WIDTH, _WIDTH * told // budget)
        text = (f"[{'#' * full}{'.' * (_WIDTH - full)}] {told}/{budget}  {job['status']}  "
                f"{progress['trials_per_second']:.3g}/s  front {progress['front_size']}")
        if progress["seconds_left"] is not None:
            text += f"  {progress['seconds_left']:.0f} s left"
        self._out.write("\r" + text.ljust(self._shown))
        self._out.flush()
        self._shown = len(text)

    def close(self) -> None:
        self._out.write("\n")
        self._out.flush()
