"""The pictures of the documents, of a page that is there: `python -m tests.status.pictures URL-OR-FILE [FOLDER]`.

Writes `status-page.png` (a desktop, light) and `status-page-phone.png` (a phone, dark), each below 200 kB.
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.status.browser import browsing

MOST_BYTES = 200_000
_COLOURS = 256
"""A page of few colours loses nothing by a palette."""


def take(browser: Browser, address: str, folder: Path) -> list[Path]:
    """Both pictures, from the top of the page to the end of what its first case shows of the year."""
    folder.mkdir(parents=True, exist_ok=True)
    desktop = _picture(browser, address, 1180, "light", scale=1.25)
    phone = _picture(browser, address, 375, "dark", scale=1.6)
    return [_kept(desktop, folder / "status-page.png"), _kept(phone, folder / "status-page-phone.png")]


def _picture(browser: Browser, address: str, width: int, scheme: str, *, scale: float) -> bytes:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        device_scale_factor=scale,
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(1500)  # what the gateway tells of itself comes after the page
    box = page.locator("figure.picture").first.bounding_box()
    assert box is not None, "the page has no picture: nothing has happened in this place yet"
    height = box["y"] + box["height"] + 12
    taken = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    context.close()
    return taken


def _kept(taken: bytes, path: Path) -> Path:
    Image.open(BytesIO(taken)).convert("RGB").quantize(_COLOURS).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES, f"{path.name} has {path.stat().st_size:,} bytes"
    return path


def main() -> None:
    """Take the pictures of the page at an address, or in a file."""
    where, *folder = sys.argv[1:]
    address = where if "://" in where else Path(where).resolve().as_uri()
    with browsing() as browser:
        for path in take(browser, address, Path(*folder) if folder else Path("docs/pictures")):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
