"""Evaluators: a decorated function that the daemon (or a worker) runs as a program of its own.

The program speaks the evaluator protocol, one JSON object per line, on stdin and stdout.  While it
runs, whatever else writes to stdout goes to stderr instead, so that a print() harms nothing.
"""
from __future__ import annotations

import json
import os
import queue
import select
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from . import space as spaces
from .messages import (Cost, Objectives, Result, cost_fields, error_message, lists, result_message,
                       values)


class Infeasible(Exception):
    """Raised by an evaluator: this candidate cannot be evaluated.  A result, never retried."""


class Transient(Exception):
    """Raised by an evaluator: another attempt may succeed."""


class Cancelled(Exception):
    """Raised by Trial.check(): nobody wants the result any more."""


class Trial:
    """One attempt at one candidate: ``trial["x"]`` is the value of the parameter x."""

    def __init__(self, request: Mapping[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        self.id: str = request["id"]
        self.candidate: dict[str, Any] = request["candidate"]
        self.params: dict[str, Any] = request.get("params", {})
        self.fidelity: int | None = request.get("fidelity")  # how much to evaluate at
        self.replicate: int = request.get("replicate", 0)  # which block of noise or data
        self.seed: int = request.get("seed", 0)  # the job's
        self.deadline_s: float | None = request.get("deadline_s")
        self.weights: str | None = request.get("weights")  # file of merged weights; see merged()
        self._send = send
        self._cancelled = False
        self._cost: Cost | None = None

    def __getitem__(self, name: str) -> Any:
        return self.candidate[name]

    def __contains__(self, name: object) -> bool:
        """False for a parameter whose ``when`` makes it inactive."""
        return name in self.candidate

    @property
    def cancelled(self) -> bool:
        """Nobody wants the result any more: return soon, with whatever there is."""
        return self._cancelled

    def check(self) -> None:
        """Raises Cancelled if the trial is cancelled."""
        if self._cancelled:
            raise Cancelled

    def spent(self, cost: Cost) -> None:
        """What the attempt has used up so far; sent even if it fails.  Later calls replace it."""
        self._cost = cost

    def report(self, *, done: float | None = None, partial: Objectives | None = None,
               examples: Mapping[str, Sequence[float]] | None = None) -> None:
        """Says how far the attempt is (0 to 1) and what is known of its objectives so far."""
        message: dict[str, Any] = {"type": "progress", "id": self.id}
        if done is not None:
            message["done"] = float(done)
        if partial:
            message["partial"] = values("objective", partial)
        if examples:
            message["examples"] = lists(examples)
        self._send(message)


Function = Callable[[Trial], "Result | Objectives | float"]


class Evaluator:
    """What the decorator makes of a function.  Still callable; run() serves the daemon."""

    def __init__(self, function: Function, hello: dict[str, Any], threads: int) -> None:
        self.function = function
        self.hello = hello
        self.threads = threads
        self._names = [objective["name"] for objective in hello.get("objectives", [])]

    def __call__(self, trial: Trial) -> Result | Objectives | float:
        return self.function(trial)

    def run(self) -> None:
        """Serves requests from stdin until its end."""
        _Session(self).serve()

    def answer(self, trial: Trial) -> dict[str, Any]:
        """The protocol's answer to a request."""
        try:
            message = result_message(self.function(trial), self._names)
        except Infeasible as error:
            message = error_message("infeasible", str(error) or "infeasible")
        except Transient as error:
            message = error_message("transient", str(error) or "transient")
        except Cancelled:
            message = error_message("transient", "cancelled")
        except Exception as error:
            traceback.print_exc()
            message = error_message("fatal", f"{type(error).__name__}: {error}")
        message["id"] = trial.id
        if trial._cost is not None:
            message.setdefault("cost", cost_fields(trial._cost))
        return message


class _Session:
    """Reads requests in a thread of its own, so that a cancel is seen while functions run; the
    main thread is the first of those that run them."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._waiting: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
        self._open: dict[str, Trial] = {}
        self._write_lock = threading.Lock()
        self._out = os.dup(1)
        os.dup2(2, 1)  # what is still in sys.stdout's buffer follows it to stderr

    def serve(self) -> None:
        self._send(self._evaluator.hello)
        threading.Thread(target=self._read, daemon=True).start()
        others = [threading.Thread(target=self._work) for _ in range(self._evaluator.threads - 1)]
        for thread in others:
            thread.start()
        self._work()
        for thread in others:
            thread.join()

    def _send(self, message: dict[str, Any]) -> None:
        # A NaN is sent as it is: the daemon's answer names the objective it stands for.
        line = (json.dumps(message, separators=(",", ":")) + "\n").encode()
        with self._write_lock:
            while line:
                line = line[os.write(self._out, line):]

    def _read(self) -> None:
        try:
            for line in sys.stdin.buffer:
                request = json.loads(line)
                if request["type"] == "evaluate":
                    trial = Trial(request, self._send)
                    self._open[trial.id] = trial
                    self._waiting.put(trial)
                elif request["type"] == "cancel":
                    self._cancel(self._open.get(request["id"]))
        except Exception:
            traceback.print_exc()  # not the daemon's language: end as at the end of input
        for _ in range(self._evaluator.threads):
            self._waiting.put(None)
        # What was asked is still answered, as long as there is somebody to read it.
        reader = select.poll()
        reader.register(self._out, 0)
        reader.poll()
        for trial in list(self._open.values()):
            self._cancel(trial)

    @staticmethod
    def _cancel(trial: Trial | None) -> None:
        if trial is not None:
            trial._cancelled = True

    def _work(self) -> None:
        while (trial := self._waiting.get()) is not None:
            if trial.cancelled:
                message = {**error_message("transient", "cancelled before it began"), "id": trial.id}
            else:
                message = self._evaluator.answer(trial)
            del self._open[trial.id]
            try:
                self._send(message)
            except BrokenPipeError:
                _leave()


def _leave() -> NoReturn:
    """Nobody listens any more; threads that still compute are not waited for."""
    sys.stderr.flush()
    os._exit(0)


def evaluator(*, objectives: Mapping[str, str] | None = None,
              space: Mapping[str, spaces.Parameter] | None = None, name: str | None = None,
              threads: int = 1, slots: int | None = None, metrics: Sequence[str] | None = None,
              params: Mapping[str, Mapping[str, Any]] | None = None, version: str | None = None,
              fidelity: tuple[str, int] | None = None, currency: str | None = None,
              worst_case: Cost | None = None) -> Callable[[Function], Evaluator]:
    """Makes an evaluator of a function from a Trial to its objectives.

    objectives: {"loss": "min", "accuracy": "max"}; left out, each job declares its own.
    space: {"x": paretod.real(0, 1)}; left out, each job declares its own.
    threads: functions that run at once.  slots: requests in hand, at least ``threads``; more keep
        a quick function busy, but their deadlines count while they wait.
    version: of code and data; outcomes of another version are not reused.
    fidelity: what Trial.fidelity counts and its default, ("images", 1000).
    currency: evaluations cost money, in this currency ("USD"); worst_case: of one attempt.
    """
    slots = threads if slots is None else slots
    if threads < 1 or slots < threads:
        raise ValueError("threads has to be at least 1, and slots at least threads")

    def decorate(function: Function) -> Evaluator:
        hello: dict[str, Any] = {
            "paretod": 1, "type": "hello", "slots": slots,
            "evaluator": name or getattr(function, "__name__", "python"),
            "objectives": spaces.goals(objectives) if objectives else None,
            "space": spaces.named(space) if space else None,
            "metrics": list(metrics) if metrics else None,
            "params": {key: dict(value) for key, value in params.items()} if params else None,
            "fidelity": {"unit": fidelity[0], "default": fidelity[1]} if fidelity else None,
            "version": version,
            "paid": True if currency else None,
            "currency": currency,
            "worst_case": cost_fields(worst_case) if worst_case else None,
        }
        said = {key: value for key, value in hello.items() if value is not None}
        return Evaluator(function, said, threads)

    return decorate
