"""Adds to ExpOps' server's answers what the server does not know: the state of the flow, and each chart of a run.

The server's own answers are kept, except for secrets that an older release stored. On an error here, nothing
is added.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.explain.components import shown_row
from expops_prefect.expops.ui.guard import FETCH, Application, Message, Receive, Send
from expops_prefect.expops.ui.picture import Shown, chart_nodes, first_charts, flow_node
from expops_prefect.models import names
from expops_prefect.project import Project

_ASKED: Final = re.compile(r"^/api/projects/[^/]+/runs/(?P<run>[^/]+)/(?P<what>status|charts)/?$")
_Answer = dict[str, Any]


class Answers:
    """An ASGI application that wraps ExpOps' own.

    Args:
        app: the server's application.
        project: the project that it shows.
    """

    def __init__(self, app: Application, project: Project) -> None:
        self._app = app
        self._project = project

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        asked = _ASKED.match(scope.get("path", "")) if scope["type"] == "http" else None
        if FETCH.match(scope.get("path", "")) is not None:
            scope = {**scope, "query_string": await asyncio.to_thread(self._with_copies, scope["query_string"])}
        if asked is None:
            await self._app(scope, receive, send)
            return
        more = self._status if asked["what"] == "status" else self._charts
        begun: Message = {}
        body = b""

        async def held(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start":
                begun = message
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, held)
        if begun.get("status") == 200:
            body = await asyncio.to_thread(self._with_more, body, unquote(asked["run"]), more)
        length = (b"content-length", str(len(body)).encode())
        headers = [item for item in begun.get("headers", ()) if item[0].lower() != length[0]]
        await send({**begun, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})

    def _with_copies(self, query: bytes) -> bytes:
        """The query of a chart, with a local copy in place of an address that the server cannot open."""
        place = self._project.objects.uri("x")[:-1]
        named = parse_qsl(query.decode("latin-1"))
        if "://" not in place or place.startswith("gs://") or not any(value.startswith(place) for _, value in named):
            return query
        try:
            copies = [(name, self._project.objects.fetch(value.removeprefix(place))) for name, value in named]
        except ExpOpsPrefectError:
            return query
        return urlencode([(name, str(copy)) for name, copy in copies if copy is not None]).encode()

    def _with_more(self, body: bytes, run: str, more: Callable[[_Answer, str], None]) -> bytes:
        answer = json.loads(body)
        steps = answer.get("steps")
        if isinstance(steps, dict):
            answer["steps"] = {name: shown_row(row) for name, row in steps.items() if isinstance(row, dict)}
        try:
            more(answer, run)
        except (ExpOpsPrefectError, ValueError, KeyError, TypeError, AttributeError):
            pass  # a run of ExpOps itself, or a store that does not answer: the server reports it
        return json.dumps(answer).encode()

    def _status(self, answer: _Answer, run: str) -> None:
        record, shown = self._shown(run)
        states, infos = answer["process_status"], answer["process_info"]
        took = None if record.ended_at is None else record.ended_at - record.started_at
        flow = names.process_path(flow_node(record.flow))
        states[flow] = record.status
        infos[flow] = {
            "status": record.status,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "duration_sec": took,
        }
        for name, chart in chart_nodes(shown).items():
            node, process = names.process_path(name), names.process_path(chart.process)
            states[node] = states.get(process, "completed")
            # The server looks for a cached process's chart in the run that computed it, where it may be another chart.
            info = infos.get(process, {})
            infos[node] = {key: value for key, value in info.items() if key != "cached_run_id"}

    def _charts(self, answer: _Answer, run: str) -> None:
        _, shown = self._shown(run)
        # The UI uses the first match for a node: the whole path comes before the name.
        charts = {path: _chart(*items) for path, items in shown.charts.items()}
        charts |= {process: _chart(item) for process, item in first_charts(shown).items()}
        charts |= {name: _chart(chart.item) for name, chart in chart_nodes(shown).items()}
        answer["charts"] = {**charts, **{name: each for name, each in answer["charts"].items() if name not in charts}}

    def _shown(self, run: str) -> tuple[Any, Shown]:
        record = self._project.run(run)
        return record, Shown(record.flow, self._project.rows(record), self._project.charts(record))


def _chart(*items: Any) -> dict[str, Any]:
    return {"type": "static", "items": list(items)}
