"""A registry as a small site to look at: versions beside each other, their report pages. It changes nothing.

Every request reads the registry anew, in a thread. What it holds is shown as text or pictures; a report page
is shown in a sandbox, for the registry may be somebody else's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from phreg.errors import PhregError
from phreg.registry.decision import Decision
from phreg.registry.entry import Entry
from phreg.registry.promotion import Promotion
from phreg.registry.registration import REPORT_FILE
from phreg.registry.registry import Registry
from phreg.report import style
from phreg.types import HIGHER_IS_BETTER

MOST = 8  # versions side by side
SHOWN = {".png": "image/png", **dict.fromkeys((".json", ".jsonl", ".md", ".yaml", ".txt"), "text/plain")}
_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class Version(NamedTuple):
    """A version as the site shows it."""

    entry: Entry
    aliases: tuple[str, ...]
    decision: Decision | None
    has_page: bool

    @property
    def path(self) -> str:
        return f"/{self.entry.model}/{self.entry.version}"

    @property
    def files(self) -> list[str]:
        return [name for name in self.entry.record.files if _suffix(name) in SHOWN]

    @property
    def url(self) -> str:
        return self.entry.folder.shown()


class Unreadable(NamedTuple):
    """A version that is damaged, and how."""

    number: int
    reason: str


def site(registry: Registry, hosts: Sequence[str]) -> Starlette:
    """An ASGI application. `hosts`: the names it answers to, so that no other page can ask it; `*`: any."""

    def everything(request: Request) -> Response:
        models: dict[str, list[Version | Unreadable]] = {}
        aliases = cache(registry.aliases)
        for name, number in registry.versions():
            models.setdefault(name, []).insert(0, _readable(registry, name, number, aliases))
        return _page("everything", registry, models=models)

    def compare(request: Request) -> Response:
        wanted = request.query_params.getlist("version")[:MOST]
        named = [name.rsplit("/", 1) for name in wanted if "/" in name]
        versions = [_version(registry, model, version) for model, version in named]
        return _page("compare", registry, versions=versions, rows=_rows(versions))

    def one(request: Request) -> Response:
        version = _version(registry, request.path_params["model"], request.path_params["version"])
        lineage = json.dumps(json.loads(version.entry.read("lineage.json")), indent=2)
        return _page("one", registry, version=version, rows=_rows([version]), lineage=lineage)

    def file(request: Request) -> Response:
        entry = registry.entry(request.path_params["model"], request.path_params["version"])
        name = request.path_params["name"]
        if name == REPORT_FILE:
            policy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
            return _response(entry.folder.read(name), "text/html", policy)
        if name not in entry.record.files or _suffix(name) not in SHOWN:
            return _missing(registry, "Not here", f"{name} is no file that is shown here")
        return _response(entry.read(name), SHOWN[_suffix(name)])

    def missing(request: Request, error: Exception) -> Response:
        if isinstance(error, PhregError):
            return _missing(registry, "This cannot be shown", str(error))
        return _missing(registry, "Not here", "there is no such page")

    routes = [
        Route("/", everything),
        Route("/compare", compare),
        Route("/{model}/{version}", one),
        Route("/{model}/{version}/{name:path}", file),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={PhregError: missing, 404: missing},
    )


Aliases = Callable[[str], Mapping[str, Promotion]]
"""Of a model."""


def _readable(registry: Registry, model: str, number: int, aliases: Aliases) -> Version | Unreadable:
    try:
        return _version(registry, model, str(number), aliases)
    except PhregError as error:
        return Unreadable(number, str(error))


def _version(registry: Registry, model: str, which: str, aliases: Aliases | None = None) -> Version:
    entry = registry.entry(model, which)
    named = (aliases or registry.aliases)(model)
    held = [name for name, promotion in named.items() if promotion.version == entry.version]
    return Version(entry, tuple(held), registry.decision(entry), entry.folder.exists(REPORT_FILE))


class Row(NamedTuple):
    """A measure of several versions; `best` are the places of the best values, none where all are equal."""

    measure: str
    values: list[float | None]
    teachers: list[float | None]
    best: set[int]


def _rows(versions: Sequence[Version]) -> list[Row]:
    names = [name for name in HIGHER_IS_BETTER if any(name in v.entry.metrics for v in versions)]
    names += sorted({name for v in versions for name in v.entry.metrics} - set(names))
    rows = []
    for name in names:
        values = [v.entry.metrics.get(name) for v in versions]
        there = [value for value in values if value is not None]
        best = max(there) if HIGHER_IS_BETTER.get(name, True) else min(there)
        places = {i for i, value in enumerate(values) if value == best} if len(set(there)) > 1 else set()
        rows.append(Row(name, values, [v.entry.record.teacher_metrics.get(name) for v in versions], places))
    return rows


def _page(kind: str, registry: Registry, status: int = 200, **content: Any) -> Response:
    css, digest = style()
    where = registry.folder.shown()
    html = _ENVIRONMENT.get_template("site.html").render(
        kind=kind,
        where=where,
        css=Markup(css),  # noqa: S704 (our own file)
        report=REPORT_FILE,
        most=MOST,
        **content,
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'"
    )
    return _response(html.encode(), "text/html", policy, status)


def _missing(registry: Registry, title: str, reason: str) -> Response:
    return _page("missing", registry, 404, title=title, reason=reason)


def _response(
    data: bytes, kind: str, policy: str = "default-src 'none'; sandbox", status: int = 200
) -> Response:
    headers = {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return (HTMLResponse if kind == "text/html" else Response)(data, status, headers, media_type=kind)


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix if stem else ""
