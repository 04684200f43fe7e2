"""A client of the daemon's REST interface."""
from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

from .front import Front, PredictedFront
from .messages import Objectives, Result, error_message, result_message
from .progress import ProgressLine
from .transport import Transport, query_text, refused

FINAL = ("succeeded", "failed", "cancelled", "diverged")
_MOST_BREAKS = 5


@dataclass(frozen=True)
class Event:
    """Of a job's log: its id ("epoch-number"), kind ("told") and content."""

    id: str
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A candidate that was handed out by ask() and waits for its tell()."""

    lease: str
    trial: int
    attempt: int
    candidate: dict[str, Any]
    request: dict[str, Any]


class Client:
    """Talks to the daemon at ``url`` (else PARETOD_URL, else port 8780 of this machine), with
    ``token`` (else the first line of PARETOD_TOKEN_FILE).

    Raises Refused with the daemon's own words, Unavailable where none answers.  Requests that may
    be repeated are, ``retries`` times."""

    def __init__(self, url: str | None = None, token: str | None = None, *, retries: int = 5,
                 timeout_s: float = 60) -> None:
        self._transport = Transport(url, token, retries, timeout_s)

    @property
    def url(self) -> str:
        return self._transport.url

    def submit(self, job: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Starts a job.  Submitting again with the same key returns the same one."""
        document = self._transport.request("POST", "/v1/jobs", dict(job),
                                           key=key or uuid.uuid4().hex)
        return Job(self._transport, document["id"])

    def job(self, id: str) -> Job:
        return Job(self._transport, id)

    def jobs(self, *, status: str | None = None) -> Iterator[dict[str, Any]]:
        """Summaries of all jobs, newest first."""
        return _pages(self._transport, "/v1/jobs", "jobs", {"status": status})

    def evaluators(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._transport.get("/v1/evaluators")["evaluators"]
        return found

    def optimizers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._transport.get("/v1/optimizers")["optimizers"]
        return found


class Job:
    """A job by its id.  Everything is asked of the daemon when it is called."""

    def __init__(self, transport: Transport, id: str) -> None:
        self._transport = transport
        self.id = id
        self._path = "/v1/jobs/" + urllib.parse.quote(id, safe="")

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> dict[str, Any]:
        """All that the daemon says of it: status, progress, conditions, spec, report."""
        document: dict[str, Any] = self._transport.get(self._path)
        return document

    def wait(self, *, progress: bool | None = None, poll_s: float = 0.5,
             timeout_s: float | None = None) -> dict[str, Any]:
        """Its status() once it is final.  Shows progress on stderr, by default on a terminal.
        Raises TimeoutError after timeout_s."""
        shown = sys.stderr.isatty() if progress is None else progress
        line = ProgressLine(sys.stderr) if shown else None
        end = None if timeout_s is None else time.monotonic() + timeout_s
        pause = min(0.02, poll_s)
        try:
            while True:
                status = self.status()
                if line:
                    line.show(status)
                if status["status"] in FINAL:
                    return status
                if end is not None and time.monotonic() + pause > end:
                    raise TimeoutError(f"job {self.id} is still {status['status']}")
                time.sleep(pause)
                pause = min(2 * pause, poll_s)
        finally:
            if line:
                line.close()

    @overload
    def front(self, *, preference: Mapping[str, float] | None = None, method: str | None = None,
              reference_point: Mapping[str, float] | None = None,
              where: str | Sequence[str] | None = None, knee: bool = False, at: int | None = None,
              confidence: float | None = None, limit: int | None = None,
              source: Literal["measured"] = "measured") -> Front: ...
    @overload
    def front(self, *, preference: Mapping[str, float] | None = None, method: str | None = None,
              reference_point: Mapping[str, float] | None = None,
              where: str | Sequence[str] | None = None, knee: bool = False, at: int | None = None,
              confidence: float | None = None, limit: int | None = None,
              source: Literal["predicted"]) -> PredictedFront: ...
    def front(self, *, preference: Mapping[str, float] | None = None, method: str | None = None,
              reference_point: Mapping[str, float] | None = None,
              where: str | Sequence[str] | None = None, knee: bool = False, at: int | None = None,
              confidence: float | None = None, limit: int | None = None,
              source: str = "measured") -> Front | PredictedFront:
        """The front now, and the point that a question chooses (docs/front.md); with
        source="predicted", those of the surrogate, at no evaluation."""
        wheres = [where] if isinstance(where, str) else list(where or [])
        query: dict[str, Any] = {
            "preference": _values_text(preference), "method": method,
            "reference_point": _values_text(reference_point), "where": wheres, "knee": knee,
            "at": at, "confidence": confidence, "limit": limit}
        if source != "measured":
            query["source"] = source
        document = self._transport.get(self._path + "/front", query)
        return PredictedFront(document) if source == "predicted" else Front(document)

    def surrogate(self) -> dict[str, Any]:
        """What the optimizer's surrogate is: coefficients, diagnostics, sampled box, verdict."""
        document: dict[str, Any] = self._transport.get(self._path + "/surrogate")
        return document

    def verify(self, count: int | None = None, *,
               preference: Mapping[str, float] | None = None, method: str | None = None,
               reference_point: Mapping[str, float] | None = None,
               where: str | Sequence[str] | None = None, knee: bool = False,
               candidates: Sequence[Mapping[str, Any]] | None = None, fidelity: int | None = None,
               replicate: int | None = None, key: str | None = None) -> list[dict[str, Any]]:
        """Has predicted points measured: the ``count`` most worth it, the one that a question
        chooses, or these candidates.  Their trials, each with what is predicted for it."""
        wheres = [where] if isinstance(where, str) else list(where or [])
        body = {"count": count, "preference": _values_text(preference), "method": method,
                "reference_point": _values_text(reference_point), "where": wheres or None,
                "knee": knee or None, "fidelity": fidelity, "replicate": replicate,
                "candidates": [dict(one) for one in candidates] if candidates else None}
        answer = self._transport.request(
            "POST", self._path + ":verify",
            {name: value for name, value in body.items() if value is not None},
            key=key or uuid.uuid4().hex)
        trials: list[dict[str, Any]] = answer["trials"]
        return trials

    def best(self) -> dict[str, Any] | None:
        """With one objective: the best trial and its objectives; None before there is one."""
        found: dict[str, Any] | None = self.status()["progress"]["best"]
        return found

    def trials(self, *, status: str | None = None) -> Iterator[dict[str, Any]]:
        """All trials by number, those of one status ("ok", "failed" ...) if it is given."""
        return _pages(self._transport, self._path + "/trials", "trials", {"status": status})

    def pause(self, reason: str = "") -> dict[str, Any]:
        return self._verb("pause", {"reason": reason} if reason else {}, repeatable=False)

    def resume(self) -> dict[str, Any]:
        return self._verb("resume", {}, repeatable=False)

    def cancel(self) -> dict[str, Any]:
        return self._verb("cancel", {}, repeatable=False)

    def extend(self, *, budget: Mapping[str, Any] | None = None,
               parallelism: int | None = None) -> dict[str, Any]:
        """New limits; those that are not named stay."""
        body: dict[str, Any] = {"budget": dict(budget)} if budget else {}
        if parallelism is not None:
            body["parallelism"] = parallelism
        return self._verb("extend", body)

    def events(self, *, after: str | None = None) -> Iterator[Event]:
        """Events as they happen, until the job is over; from now on, or from behind the event
        ``after`` ("0-0": all).  A stream that breaks is taken up where it broke."""
        broken = 0
        while True:
            trouble: Exception = ConnectionError("the event stream ended before the job did")
            try:
                with self._open_events(after) as reply:
                    if reply.status == 204:
                        return  # the job is over, and there is nothing behind `after`
                    for event in _events(reply):
                        after, broken = event.id, 0
                        yield event
                        if event.kind == "finished":
                            return
            except (OSError, http.client.HTTPException) as error:
                trouble = error
            broken += 1
            if broken > _MOST_BREAKS:
                raise self._transport.unavailable(trouble) from trouble
            time.sleep(0.1 * 2**broken)

    def ask(self, count: int = 1, *, ttl_s: float | None = None) -> list[Asked]:
        """Candidates of a job whose evaluator is "external", to be evaluated by the caller within
        ttl_s; fewer than ``count``, or none, if the search has no more to ask now."""
        body: dict[str, Any] = {"count": count, "request": uuid.uuid4().hex}
        if ttl_s is not None:
            body["ttl_s"] = ttl_s
        leases = self._verb("ask", body)["leases"]
        return [Asked(item["lease"], item["trial"], item["attempt"], item["request"]["candidate"],
                      item["request"]) for item in leases]

    def tell(self, asked: Asked, result: Result | Objectives) -> str:
        """Brings a result: "accepted", "duplicate" or "unknown"."""
        return self._tell(asked, result_message(result, []))

    def tell_error(self, asked: Asked, kind: str, message: str) -> str:
        """Says that there is none: kind is infeasible, transient or fatal."""
        return self._tell(asked, error_message(kind, message))

    def _tell(self, asked: Asked, message: dict[str, Any]) -> str:
        message["id"] = asked.request["id"]
        answer = self._verb("tell", {"results": [{"lease": asked.lease, "message": message}]})
        return str(answer["results"][0]["status"])

    def _verb(self, verb: str, body: dict[str, Any], repeatable: bool = True) -> dict[str, Any]:
        answer: dict[str, Any] = self._transport.request("POST", f"{self._path}:{verb}", body,
                                                         repeatable=repeatable)
        return answer

    @contextmanager
    def _open_events(self, after: str | None) -> Iterator[http.client.HTTPResponse]:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        with self._transport.open("GET", self._path + "/events", None, headers) as reply:
            if reply.status not in (200, 204):
                raise refused(reply.status, reply.read())
            yield reply


def _events(reply: http.client.HTTPResponse) -> Iterator[Event]:
    """The frames of an event stream; one that is cut off is left out."""
    fields: dict[str, str] = {}
    for raw in reply:
        line = raw.decode().rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            if name:  # a line that begins with a colon keeps the connection alive
                fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields and "id" in fields:
            yield Event(fields["id"], fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}


def _values_text(values: Mapping[str, float] | None) -> str | None:
    """{"f1": 0.7, "f2": 0.3} as "f1:0.7,f2:0.3"."""
    if values is None:
        return None
    return ",".join(f"{name}:{float(value)!r}" for name, value in values.items())


def _pages(transport: Transport, path: str, items: str,
           query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    token: str | None = None
    while True:
        page = transport.request("GET", path + query_text({**query, "page_size": 500,
                                                           "page_token": token}))
        yield from page[items]
        token = page.get("next_page_token")
        if not token:
            return
