#!/usr/bin/env python3
"""Decodes the results of a run with the package hdrhistogram of PyPI, and compares them with each other.

Usage: decode.py PROGRAM DIR, where DIR was written by `PROGRAM bench -o DIR`. Every histogram of the run document is
decoded; the intervals of the document and those of the interval log must add up to the totals, bucket by bucket. The
package's percentiles must equal those that the program reports for the same ranks: the two rules for the rank of a
percentile differ, so the program is asked for the percentile in the middle of the package's rank.
"""

import json
import pathlib
import subprocess
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

PERCENTS = [10, 50, 75, 90, 99, 99.9, 99.99, 100]


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    run = json.loads((folder / "result.json").read_text())
    views = {
        (metric["name"], name): metric[name]
        for metric in run["metrics"]
        for name in ("planned", "sent", "measured")
        if name in metric
    }
    totals = {key: decoded(view["hdr"]) for key, view in views.items()}
    for key, view in views.items():
        check(key, "count", totals[key].get_total_count(), view["count"])
        if view["count"]:
            check(key, "min", totals[key].get_min_value(), view["min"])
            check(key, "max", totals[key].get_max_value(), view["max"])
            compare_percentiles(program, folder, key, totals[key], view)
    intervals = sum_of_document(run)
    logged = sum_of_log(folder / "intervals.hlog")
    check("tags", "interval log", sorted(logged), sorted(key for key in intervals if intervals[key].get_total_count()))
    for key, sum_of_intervals in intervals.items():
        check(key, "buckets of the document's intervals", buckets(sum_of_intervals), buckets(totals[key]))
    for key, sum_of_lines in logged.items():
        check(key, "buckets of the interval log", buckets(sum_of_lines), buckets(totals[key]))
    latencies = sum(total.get_total_count() for total in totals.values())
    print(f"hdrhistogram (PyPI): {len(totals)} histograms with {latencies} latencies agree, and so do their intervals")


def decoded(text):
    return HdrHistogram.decode(text)


def buckets(histogram):
    """Lists the values of a histogram with their counts."""
    return [(item.value_iterated_to, item.count_at_value_iterated_to) for item in histogram.get_recorded_iterator()]


def compare_percentiles(program, folder, key, histogram, view):
    """Compares the package's percentiles with the program's, at the ranks that the package chooses."""
    operations = view["count"] + view["failed"]
    label = lambda percent: f"{100 * (histogram.get_target_count_at_percentile(percent) - 0.5) / operations:.9f}"
    labels = {percent: label(percent) for percent in PERCENTS}
    command = [program, "report", str(folder), "--format", "json", "--percentiles", ",".join(sorted(set(labels.values())))]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    metric = next(metric for metric in report["metrics"] if metric["name"] == key[0])
    for percent, text in labels.items():
        value = histogram.get_value_at_percentile(percent)
        check(key, f"percentile {percent} ({text})", value, metric[key[1]]["percentiles"][text])


def sum_of_document(run):
    sums = {}
    for series in run["timeline"]["histograms"]:
        total = empty()
        for text in filter(None, series["intervals"]):
            total.add(decoded(text))
        sums[series["metric"], series["view"]] = total
    return sums


def sum_of_log(path):
    sums, reader = {}, HistogramLogReader(str(path), empty())
    while histogram := reader.get_next_interval_histogram():
        metric, view = histogram.get_tag().split(".")
        sums.setdefault((metric, view), empty()).add(histogram)
    return sums


def empty():
    return HdrHistogram(1, 2**53 - 1, 3)


def check(what, name, found, expected):
    if found != expected:
        sys.exit(f"{what}: {name} is {str(found)[:500]}, but the program has {str(expected)[:500]}")


main()
