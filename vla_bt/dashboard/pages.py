"""The plain files of the page, and the guard before everything the server answers.

Promises: no request gets past :class:`vla_bt.dashboard.access.Access`; every answer, refusals included, forbids foreign scripts,
frames and readers; files come from a list in memory, so no path from outside is ever looked up.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Awaitable, Callable

from aiohttp import web

from vla_bt.dashboard.access import COOKIE, Access

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PUBLIC = ("/style.css", "/icon.svg")
"""What the page that asks for the token needs itself."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """Files and guard of one server.

    Parameters
    ----------
    access : Access
        Who may open them.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        folder = importlib.resources.files("vla_bt.dashboard") / "assets"
        self._files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in TYPES}

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse foreign names and unknown visitors before anything else; put the headers on every answer."""
        try:
            if refusal := self._access.refuse_host(request.headers.get("Host", "")):
                raise web.HTTPMisdirectedRequest(text=refusal)
            if "token" in request.query and request.path == "/":
                return self._sign_in(request)
            if not self._access.knows(request.cookies.get(COOKIE, "")) and request.path not in PUBLIC:
                raise self._unknown()
            response = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def asset(self, request: web.Request) -> web.Response:
        """Return a file."""
        name = request.match_info.get("name", "index.html")
        if name not in self._files:
            raise web.HTTPNotFound(text="not here")
        return web.Response(body=self._files[name], content_type=TYPES[name.rpartition(".")[2]], charset="utf-8")

    def _sign_in(self, request: web.Request) -> web.Response:
        """Turn the token in the address into a cookie, so that it stays in no address and no history."""
        if not self._access.knows(request.query["token"]):
            raise self._unknown()
        response = web.Response(status=303, headers={"Location": "/", **HEADERS})
        if self._access.token:
            response.set_cookie(COOKIE, self._access.token, httponly=True, samesite="Strict", path="/")
        return response

    def _unknown(self) -> web.HTTPUnauthorized:
        return web.HTTPUnauthorized(text=self._files["token.html"].decode(), content_type="text/html")
