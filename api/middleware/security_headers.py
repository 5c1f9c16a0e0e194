"""Which headers restrict a browser that shows an answer? Trust nothing, frame nothing, load nothing.

Only the documentation's page may load anything: its own script and style, from this service.
"""

from __future__ import annotations

from starlette.types import Scope

from api.path_prefix import route_path

DOCS = "/docs"
Headers = tuple[tuple[bytes, bytes], ...]

_ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_API: Headers = (*_ALWAYS, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"))
_PAGE: Headers = (
    *_ALWAYS,
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_TLS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)


def security_headers(scope: Scope) -> Headers:
    """The headers of the answer to this request; HTTPS is required only if the request came over `https`."""
    headers = _PAGE if route_path(scope).startswith(DOCS) else _API
    return (*headers, *_TLS) if scope.get("scheme") == "https" else headers
