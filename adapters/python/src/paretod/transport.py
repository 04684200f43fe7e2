"""HTTP to one daemon: token, problem documents, retries.  Thread-safe; a connection per request."""
from __future__ import annotations

import http.client
import json
import os
import pathlib
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .errors import FieldProblem, Refused, Unavailable

_DEFAULT_URL = "http://127.0.0.1:8780"
_LONGEST_PAUSE_S = 10.0
_STARTING = (502, 503, 504)


def _token_of_environment() -> str | None:
    path = os.environ.get("PARETOD_TOKEN_FILE")
    if not path:
        return None
    lines = pathlib.Path(path).read_text().splitlines()
    return lines[0].strip() if lines else None


class Transport:
    def __init__(self, url: str | None, token: str | None, retries: int, timeout_s: float) -> None:
        self.url = (url or os.environ.get("PARETOD_URL") or _DEFAULT_URL).rstrip("/")
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the URL of the daemon has to begin with http:// or https://, not {self.url!r}")
        self._token = token or _token_of_environment()
        self._parts = parts
        self._retries = retries
        self._timeout_s = timeout_s

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.request("GET", path + query_text(query))

    def request(self, method: str, path: str, body: Any = None, *, key: str | None = None,
                repeatable: bool = True) -> Any:
        """The decoded answer.  ``repeatable``: doing it twice does what doing it once does, so a
        request whose answer is lost is sent again."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        text = None if body is None else json.dumps(body, allow_nan=False)
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            pause = min(0.1 * 2**attempt, _LONGEST_PAUSE_S)
            try:
                with self.open(method, path, text, headers) as reply:
                    raw = reply.read()
            except (OSError, http.client.HTTPException) as error:
                if last or not repeatable:
                    raise self.unavailable(error) from error
            else:
                if 200 <= reply.status < 300:
                    return json.loads(raw) if raw else None
                refusal = refused(reply.status, raw)
                # Refused for haste, the request did nothing; other limits (429 too) are there to
                # be told about.
                hasty = reply.status == 429 and refusal.kind == "/problems/too-many-requests"
                if last or not (hasty or (repeatable and reply.status in _STARTING)):
                    raise refusal
                after = reply.getheader("Retry-After") or ""
                pause = min(float(after), _LONGEST_PAUSE_S) if after.isdigit() else pause
            time.sleep(pause)
        raise AssertionError("unreachable")

    @contextmanager
    def open(self, method: str, path: str, body: str | None,
             headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """One exchange, whatever its status."""
        parts = self._parts
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout_s)
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            connection.request(method, parts.path + path, body, {**headers, **authorization})
            yield connection.getresponse()
        finally:
            connection.close()

    def unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"no paretod answers at {self.url} (is it running? start it with "
                           f"`paretod serve`): {error}")


def refused(status: int, raw: bytes) -> Refused:
    try:
        document = json.loads(raw)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    problems = [FieldProblem(str(item.get("pointer", "")), str(item.get("message", "")))
                for item in document.get("problems", [])]
    detail = document.get("detail") or document.get("title") or f"HTTP status {status}"
    return Refused(status, str(document.get("type", "")), str(detail), problems)


def query_text(query: Mapping[str, Any] | None) -> str:
    """"?a=1&b=2"; None is left out, True is a flag without a value, a list repeats its name."""
    pairs: list[str] = []
    for name, value in (query or {}).items():
        if value is None or value is False:
            continue
        if value is True:
            pairs.append(urllib.parse.quote(name, safe=""))
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            pairs.append(urllib.parse.urlencode({name: item}))
    return "?" + "&".join(pairs) if pairs else ""
