"""The documentation's page: Swagger UI, whose files come from this service and not from a foreign host."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.middleware.security_headers import DOCS

router = APIRouter(prefix=DOCS, include_in_schema=False)

# Relative to the page, so that they work under any path prefix.
_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>HSU</title>
<link rel="stylesheet" href=".{DOCS}/swagger-ui.css">
<link rel="icon" href="data:,">
<div id="page"></div>
<script src=".{DOCS}/swagger-ui-bundle.js"></script>
<script src=".{DOCS}/start.js"></script>
</html>
"""
_START = 'SwaggerUIBundle({url: "./openapi.json", dom_id: "#page", deepLinking: true, persistAuthorization: false});\n'
_FILES = resources.files("fastapi_swagger") / "resources"
_KINDS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get("")
def show_docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE)


@router.get("/start.js")
def read_start() -> Response:
    """The script that starts it: a file, since the page may run no inline script."""
    return Response(_START, media_type="text/javascript")


@router.get("/swagger-ui.css")
def read_style() -> Response:
    """The page's style."""
    return _file("swagger-ui.css")


@router.get("/swagger-ui-bundle.js")
def read_script() -> Response:
    """The page's script."""
    return _file("swagger-ui-bundle.js")


def _file(name: str) -> Response:
    content = (_FILES / name).read_bytes()
    return Response(content, media_type=_KINDS[name], headers={"Cache-Control": "max-age=86400"})
