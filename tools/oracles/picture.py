#!/usr/bin/env python3
"""Cuts pictures out of the page of a run, and prints them as one SVG file that follows light and dark themes.

Usage: picture.py PAGE PICTURE.., where the pictures are among curve, latency, lag, heat, operations and peers.
"""

import pathlib
import re
import sys

WIDTH = 760


def main():
    page = pathlib.Path(sys.argv[1]).read_text()
    style = re.search(r"<style>\n(.*?)</style>", page, re.DOTALL)[1].split("@media print")[0]
    parts, top = [], 0
    for name in sys.argv[2:]:
        found = re.search(rf'<svg role="img" viewBox="0 0 {WIDTH} ([\d.]+)" aria-labelledby="{name}-.*?</svg>', page, re.DOTALL)
        if not found:
            sys.exit(f"picture.py: {sys.argv[1]} has no picture {name}; choose curve, latency, lag, heat, operations or peers")
        height = float(found[1])
        size = f'<svg x="0" y="{top:g}" width="{WIDTH}" height="{height:g}" '
        parts.append(found[0].replace("<svg ", size, 1))
        top += height + 8
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" width="{WIDTH}" height="{top:g}">')
    print(f"<style>\n{style}svg {{ min-width: 0; font-family: system-ui, sans-serif; }}\n</style>")
    print('<rect width="100%" height="100%" fill="var(--page)"/>')
    print("\n".join(parts) + "\n</svg>")


if __name__ == "__main__":
    main()
