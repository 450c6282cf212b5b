"""Pictures of every view, from a fleet that works: ``./dev screenshots [--wait 150] [--all] [FOLDER]``.

The demo's clean hours run with real agents on simulated machines; when jobs have run, plans were made and caps were
learned, Chromium takes every view at a desktop's and a phone's width, once light and once dark.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.page.conftest import CHROMIUM
from tests.page.test_every_view import views

HERE = Path(__file__).parents[2]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
USUAL = {"desktop": ("light",), "phone": ("dark",)}
READY_S = 120.0
MOST_BYTES = 150_000


@contextmanager
def working_fleet(seconds):
    """Run the demo; yield the address of its page."""
    with tempfile.TemporaryDirectory(prefix="evenwatt-pictures-") as name:
        folder = Path(name) / "demo"
        scenario = ["--scenario", "clean-hours"] if os.geteuid() == 0 else []
        command = [sys.executable, "-c", "from evenwatt_cli.main import entry; entry()", "demo", *scenario]
        command += ["--headless", "--seconds", f"{seconds:.0f}", "--keep", str(folder)]
        with (Path(name) / "log").open("wb") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield _await_page(folder, child)
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(60)


def _await_page(folder, child):
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s and child.poll() is None:
        try:
            port = re.search(r"\[http\]\nport = (\d+)", (folder / "collector.toml").read_text())[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return f"http://127.0.0.1:{port}"
        except (OSError, urllib.error.URLError, TypeError):
            time.sleep(0.5)
    raise SystemExit(f"screenshots: the demo did not start within {READY_S:.0f} s")


def take(address, folder, schemes):
    """Write the pictures; return their names with their sizes in bytes."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-lcd-text"])
        blank = browser.new_page()
        for size, (width, height) in SIZES.items():
            for scheme in schemes[size]:
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                for view in views():
                    page.goto(f"{address}/{_where(page, address, view)}")
                    page.locator("main h1").wait_for()
                    page.wait_for_function("() => !document.querySelector('.loading')")
                    page.wait_for_timeout(2500)  # a few updates, so that charts have something to show
                    path = folder / f"{view}-{size}-{scheme}.png"
                    path.write_bytes(with_few_colours(blank, page.screenshot()))
                    written[path.name] = path.stat().st_size
                context.close()
        browser.close()
    return written


def with_few_colours(blank, picture):
    """Return a PNG with its 256 most frequent colours, others by the nearest of them: a third of the size.

    Args:
        blank: An empty page of a browser, which reads the picture.
        picture: A PNG.
    """
    width, height, raw = blank.evaluate(PIXELS, base64.b64encode(picture).decode())
    pixels = np.frombuffer(base64.b64decode(raw), np.uint8).reshape(-1, 4)[:, :3].astype(np.int32)
    packed = pixels @ (1 << 16, 1 << 8, 1)
    colours, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    kept = colours[np.argsort(-counts)[:256]]
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    palette = np.stack([kept >> 16, kept >> 8 & 255, kept & 255], axis=1)
    nearest = np.array([np.argmin(((palette - one) ** 2).sum(axis=1)) for one in parts], np.uint8)
    rows = nearest[inverse].reshape(height, width)
    scanlines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", palette.astype(np.uint8).tobytes()), (b"IDAT", zlib.compress(scanlines, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in (*chunks, (b"IEND", b"")))


def _chunk(kind, content):
    """Return a chunk as the PNG specification has it: length, kind, content, check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PIXELS = """async (picture) => {
  const bytes = Uint8Array.from(atob(picture), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, image.width, image.height);
  let raw = "";
  for (let i = 0; i < data.length; i += 32768) raw += String.fromCharCode(...data.subarray(i, i + 32768));
  return [image.width, image.height, btoa(raw)];
}"""


def _where(page, address, view):
    if view not in ("zone", "node"):
        return f"#/{view}"
    nodes = page.request.get(f"{address}/api/v1/status").json()["nodes"]
    busiest = max(nodes, key=lambda node: node["counters"] or 0)
    return f"#/zone/{busiest['zone']}" if view == "zone" else f"#/node/{busiest['zone']}/{busiest['node']}"


def main():
    parser = argparse.ArgumentParser(prog="./dev screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "docs" / "screenshots")
    parser.add_argument("--wait", type=float, default=150.0, help="seconds of the demo before the first picture")
    parser.add_argument("--all", action="store_true", help="light and dark at both widths")
    parser.add_argument("--address", help="of a page that is already there, instead of a demo")
    options = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job would have its children ignore it
    if CHROMIUM is None:
        print("screenshots: chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 1
    schemes = dict.fromkeys(SIZES, ("light", "dark")) if options.all else USUAL
    if options.address:
        written = take(options.address, options.folder, schemes)
    else:
        with working_fleet(options.wait + 300) as address:
            print(f"screenshots: {address} works for {options.wait:.0f} s first", file=sys.stderr)
            time.sleep(options.wait)
            written = take(address, options.folder, schemes)
    for name, size in written.items():
        print(f"{size // 1000:>5} kB  {name}{'  too large' if size > MOST_BYTES else ''}")
    return int(any(size > MOST_BYTES for size in written.values()))


if __name__ == "__main__":
    sys.exit(main())
