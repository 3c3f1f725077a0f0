#!/usr/bin/env python3
"""Opens pages of runs and comparisons in a headless Chromium, and checks them as a reader sees them.

Usage: browser.py CHROMIUM DIR.., where each DIR has a page report.html of `peerloop bench` or `peerloop compare`. In the light and the dark form,
every text must have a contrast of at least 4.5, no two labels of a picture may overlap, and the pictures must have
pixels in the colours of their lines. At a width of 320 pixels, the page may not scroll sideways. The page may request
nothing but itself, and may cause no message of the browser. It must be printable.
"""

import functools
import html
import http.server
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import zlib

# The themes: the browser's setting, the background, and the colours of the first two lines in the pictures.
THEMES = {
    "light": (1, (0xFF, 0xFF, 0xFF), [(0x0B, 0x5C, 0xAD), (0xB0, 0x4A, 0x00)]),
    "dark": (0, (0x0F, 0x14, 0x1A), [(0x6C, 0xB6, 0xFF), (0xFF, 0xAB, 0x45)]),
}
# The size of screenshots, and the least number of pixels in a line's colour.
SIZE = (900, 3600)
LEAST_PIXELS = 300
MIN_CONTRAST = 4.5
NARROW = 320
PATIENCE_SECS = 120

# Measures the page in a frame, and writes the findings into the document.
MEASURE = """<!DOCTYPE html><html><body style="margin:0"><iframe id="page" src="report.html"
style="border:0;width:%(width)dpx;height:3000px"></iframe><pre id="found"></pre><script>
const number = text => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255).map(
  c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (one, two) => {
  const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
document.getElementById('page').onload = event => {
  const page = event.target.contentDocument, view = event.target.contentWindow;
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = number(view.getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = {width: page.documentElement.scrollWidth, faint: [], overlaps: [], texts: 0, pictures: 0};
  for (const element of page.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest('script, title, desc')) continue;
    const style = view.getComputedStyle(element);
    const ratio = contrast(number(element.closest('svg') ? style.fill : style.color), ground(element));
    found.texts += 1;
    if (ratio < %(contrast)f) found.faint.push([element.textContent.slice(0, 60), ratio]);
  }
  for (const svg of page.querySelectorAll('svg')) {
    found.pictures += 1;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([one, a], index) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1) found.overlaps.push([one, 'the edge of the picture']);
      for (const [two, b] of texts.slice(index + 1)) {
        const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
        if (!apart) found.overlaps.push([one, two]);
      }
    });
  }
  document.getElementById('found').textContent = JSON.stringify(found);
};
</script></body></html>"""


def main():
    chromium, folders = sys.argv[1], [pathlib.Path(name) for name in sys.argv[2:]]
    for folder in folders:
        requests = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, folder, requests))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        texts = [check_theme(chromium, base, folder.name, theme) for theme in THEMES]
        pdf = run(chromium, base, "--no-pdf-header-footer", output="--print-to-pdf")
        expect(folder.name, "printed form", pdf.startswith(b"%PDF") and len(pdf) > 20_000, True)
        server.shutdown()
        expect(folder.name, "requests", sorted(set(requests) - {"/favicon.ico"}), ["/measure.html", "/report.html"])
        print(f"{folder.name}: {texts[0]} texts are readable in light and dark, and no label overlaps another")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the page and the page that measures it."""

    def __init__(self, folder, requests, *arguments):
        self.folder, self.requests = folder, requests
        super().__init__(*arguments)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.requests.append(path)
        body = {
            "/report.html": lambda: (self.folder / "report.html").read_bytes(),
            "/measure.html": lambda: (MEASURE % {"width": int(query), "contrast": MIN_CONTRAST}).encode(),
        }.get(path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body() if body else b"")

    def log_message(self, *_):
        pass


def check_theme(chromium, base, name, theme):
    """Checks the page in one theme, and returns the number of its texts."""
    setting, background, lines = THEMES[theme]
    name, scheme = f"{name}, {theme}", f"--blink-settings=preferredColorScheme={setting}"
    for width in (NARROW, SIZE[0]):
        dom = run(chromium, f"{base}/measure.html?{width}", "--virtual-time-budget=5000", "--dump-dom", scheme).decode()
        found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1]))
        expect(f"{name} at {width} pixels", "texts of low contrast", found["faint"], [])
        expect(f"{name} at {width} pixels", "overlapping labels", found["overlaps"], [])
        expect(f"{name} at {width} pixels", "a page that scrolls sideways", found["width"] > width, False)
        expect(f"{name} at {width} pixels", "pictures", found["pictures"] >= 5, True)
    size = "--window-size={},{}".format(*SIZE)
    image = run(chromium, base, size, "--hide-scrollbars", scheme, output="--screenshot")
    pixels = decode(image)
    corner = pixels[0]
    expect(name, "background", corner, background)
    for line in lines:
        expect(name, f"a line in the colour {line}", pixels.count(line) >= LEAST_PIXELS, True)
    return found["texts"]


def run(chromium, url, *flags, output=None):
    """Runs the browser, and returns what it printed or wrote. A message of the page is a failure."""
    url = url if url.count("/") > 2 else f"{url}/report.html"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = pathlib.Path(folder) / ("output.pdf" if output == "--print-to-pdf" else "output.png")
        flags = [*flags, f"{output}={file}"] if output else flags
        common = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
            f"--user-data-dir={folder}/profile",
        ]
        result = subprocess.run([chromium, *common, *flags, url], capture_output=True, timeout=PATIENCE_SECS)
        messages = [line for line in result.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
        expect(url, "messages", messages, [])
        expect(url, "exit code", result.returncode, 0)
        return file.read_bytes() if output else result.stdout


def decode(image):
    """Decodes a PNG with 8 bits per channel, and returns its pixels row by row."""
    at, packed = 8, b""
    while at < len(image):
        (length,), kind = struct.unpack(">I", image[at : at + 4]), image[at + 4 : at + 8]
        content = image[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IHDR":
            width, height, _, color = struct.unpack(">IIBB", content[:10])
        elif kind == b"IDAT":
            packed += content
    channels = {2: 3, 6: 4}[color]
    raw, stride, rows = zlib.decompress(packed), width * channels, []
    above = bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        unfilter(raw[start], row, above, channels)
        rows.append(row)
        above = row
    channel = [b"".join(row[offset::channels] for row in rows) for offset in range(3)]
    return list(zip(*channel))


def unfilter(kind, row, above, channels):
    """Undoes the filter of a row in place, as the specification of PNG defines it."""
    for x in range(len(row)) if kind else ():
        before = row[x - channels] if x >= channels else 0
        diagonal = above[x - channels] if x >= channels else 0
        if kind == 1:
            guess = before
        elif kind == 2:
            guess = above[x]
        elif kind == 3:
            guess = (before + above[x]) // 2
        else:
            estimate = before + above[x] - diagonal
            guess = min((before, above[x], diagonal), key=lambda value: abs(estimate - value))
        row[x] = (row[x] + guess) & 255


def expect(where, what, found, expected):
    if found != expected:
        sys.exit(f"browser.py: {where}: {what}: found {str(found)[:2000]}, expected {expected}")


if __name__ == "__main__":
    main()
