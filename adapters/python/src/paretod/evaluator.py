"""Evaluators: a decorated function that the daemon (or a worker) runs as a program of its own.

The program speaks the evaluator protocol, one JSON object per line, on stdin and stdout.  While it
runs, whatever else writes to stdout goes to stderr instead, so that a print() harms nothing.
"""
from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import space as spaces

_LONGEST_MESSAGE = 4000


class Infeasible(Exception):
    """Raised by an evaluator: this candidate cannot be evaluated.  A result, never retried."""


class Transient(Exception):
    """Raised by an evaluator: another attempt may succeed."""


class Cancelled(Exception):
    """Raised by Trial.check(): nobody wants the result any more."""


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


Objectives = Mapping[str, Any]  # a number or a Measured by name


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


def _values(what: str, values: Objectives) -> dict[str, Any]:
    written = {}
    for name, value in values.items():
        try:
            written[str(name)] = _measured(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f'{what} "{name}" has to be a number, not {value!r}') from error
    return written


def _lists(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {str(name): [float(x) for x in items] for name, items in values.items()}


def _cost(cost: Cost) -> dict[str, Any]:
    fields: dict[str, Any] = {"tokens": int(cost.tokens), "money_micros": int(cost.money_micros)}
    if cost.seconds is not None:
        fields["seconds"] = float(cost.seconds)
    return fields


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
            message["partial"] = _values("objective", partial)
        if examples:
            message["examples"] = _lists(examples)
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
            message = self._result(self.function(trial))
        except Infeasible as error:
            message = _error("infeasible", str(error) or "infeasible")
        except Transient as error:
            message = _error("transient", str(error) or "transient")
        except Cancelled:
            message = _error("transient", "cancelled")
        except Exception as error:
            traceback.print_exc()
            message = _error("fatal", f"{type(error).__name__}: {error}")
        message["id"] = trial.id
        if trial._cost is not None:
            message.setdefault("cost", _cost(trial._cost))
        return message

    def _result(self, returned: Any) -> dict[str, Any]:
        if isinstance(returned, Result):
            message = self._result(returned.objectives)
            if returned.constraints is not None:
                message["constraints"] = [float(x) for x in returned.constraints]
            if returned.metrics is not None:
                message["metrics"] = _values("metric", returned.metrics)
            if returned.examples is not None:
                message["examples"] = _lists(returned.examples)
            if returned.cost is not None:
                message["cost"] = _cost(returned.cost)
            return message
        if isinstance(returned, Mapping):
            return {"type": "result", "objectives": _values("objective", returned)}
        if len(self._names) == 1:
            return {"type": "result", "objectives": _values("objective", {self._names[0]: returned})}
        raise TypeError("an evaluator has to return a number per objective, as "
                        f'{{"name": number}} or paretod.Result, not {type(returned).__name__}')


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "kind": kind, "message": text[:_LONGEST_MESSAGE]}


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
        for _ in range(self._evaluator.threads - 1):
            threading.Thread(target=self._work, daemon=True).start()
        self._work()

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
        for trial in list(self._open.values()):
            self._cancel(trial)
        for _ in range(self._evaluator.threads):
            self._waiting.put(None)

    @staticmethod
    def _cancel(trial: Trial | None) -> None:
        if trial is not None:
            trial._cancelled = True

    def _work(self) -> None:
        while (trial := self._waiting.get()) is not None:
            if trial.cancelled:
                message = {**_error("transient", "cancelled before it began"), "id": trial.id}
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
            "worst_case": _cost(worst_case) if worst_case else None,
        }
        said = {key: value for key, value in hello.items() if value is not None}
        return Evaluator(function, said, threads)

    return decorate
