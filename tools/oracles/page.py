#!/usr/bin/env python3
"""Checks a page with the parser html5lib of PyPI, and compares its contents with the document.

Usage: page.py PROGRAM DIR, where DIR was written by `PROGRAM bench -o DIR`, or by `PROGRAM compare --rounds N -o DIR`
with its page in DIR/report.html. The page must be free of parse errors. The page of a run must have the document's
counts and percentiles in its table, and a document with the same totals, and with intervals that add up to them. The
page of a comparison must have the verdict, the reasons, a row for each run, and the document of `--format json`.
"""

import json
import pathlib
import subprocess
import sys

import html5lib


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    text = (folder / "report.html").read_text()
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    blocks = tree.findall(".//script")
    check("scripts", [block.get("type") for block in blocks], ["application/json"])
    embedded = json.loads(blocks[0].text)
    rows = [[content(cell) for cell in row] for row in tree.iter("tr")]
    is_comparison = (folder / "base").is_dir()
    found = (check_comparison if is_comparison else check_run)(program, folder, embedded, rows)
    print(f"html5lib: no parse error in {len(text)} bytes, {found}")


def check_comparison(program, folder, embedded, rows):
    command = [program, "compare", folder / "base", "--format", "json", "--", folder / "new"]
    compared = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for side in ("base", "new"):
        # The page was written while the runs were in another folder.
        for run in (*embedded[side]["runs"], *compared[side]["runs"]):
            run["source"] = pathlib.Path(run["source"]).name
    for key in ("margin", "pairing", "base", "new", "metrics", "verdict"):
        check(f"{key} in the page", embedded[key], compared[key])
    for metric in compared["metrics"]:
        shown = [row for row in rows if row[0] == metric["name"] and row[6:] == [metric["verdict"], metric["reason"]]]
        check(f"rows of {metric['name']}", len(shown), 1)
    starts = [row[1] for row in rows if row[0].startswith(("base ", "new "))]
    check("runs", starts, [run["start"] for side in ("base", "new") for run in compared[side]["runs"]])
    return f"{len(starts)} runs and {len(compared['metrics'])} verdicts in the page and in its document"


def check_run(program, folder, embedded, rows):
    run = json.loads((folder / "result.json").read_text())
    values = 0
    for metric in run["metrics"]:
        for name in ("planned", "sent", "measured"):
            if name not in metric:
                continue
            view = metric[name]
            shown = [row for row in rows if row[0] == metric["name"] and row[2:4] == [str(view["count"]), str(view["failed"])]]
            check(f"rows of {metric['name']}.{name}", bool(shown), True)
            other = next(one for one in embedded["metrics"] if one["name"] == metric["name"])[name]
            for key in ("count", "failed", "min", "max", "percentiles", "hdr"):
                check(f"{key} of {metric['name']}.{name}", other[key], view[key])
            values += len(view["percentiles"])
    check("counts", embedded["counts"], run["counts"])
    for column in ("planned", "sent", "answered", "failed"):
        check(f"sum of {column}", column_sum(embedded, column), column_sum(run, column))
    report = subprocess.run([program, "report", folder / "report.html"], capture_output=True, text=True)
    check("errors of report", report.stderr, "")
    check("text", report.stdout, (folder / "report.txt").read_text())
    return f"{values} percentiles in the page and in its document"


def content(element):
    return "".join(element.itertext()).strip()


def column_sum(run, name):
    timeline = run["timeline"]
    index = timeline["columns"].index(name)
    return sum(row[index] or 0 for row in timeline["rows"])


def check(what, found, expected):
    if found != expected:
        sys.exit(f"page.py: {what}: found {found!r}, expected {expected!r}")


if __name__ == "__main__":
    main()
