"""The page's own style and script, and what a browser may do for it: those two, and asking where it came from."""

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def style() -> str:
    """The style sheet of the page."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The script of the page: what the gateway tells of itself, and a newer page."""
    return (_HERE / "page.js").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The Content-Security-Policy: whatever else came into the page is neither run nor fetched."""
    return (
        f"default-src 'none'; style-src {_digest(style())}; script-src {_digest(script())}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
