#!/usr/bin/env python3
"""Writes an interval log with the package hdrhistogram of PyPI, as a fixture for `peerloop report`.

Usage: PYTHONPATH=target/oracles/python foreign_log.py > tools/peerloop/tests/cli/fixtures/foreign.hlog

The values are microseconds: 1 to 1,000 in the first second and 1,001 to 2,000 in the second one, without a tag, and
10,000 five times in the third second, with the tag `write`.
"""

import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter


def main():
    log = HistogramLogWriter(sys.stdout)
    log.output_log_format_version()
    log.output_comment("[Written by hdrhistogram of PyPI; microseconds]")
    # The package cannot format a start time.
    sys.stdout.write("#[StartTime: 1700000000.500 (seconds since epoch), Tue Nov 14 22:13:20 UTC 2023]\n")
    log.output_base_time(1_700_000_000_500)
    log.output_legend()
    intervals = [("", range(1, 1_001)), ("", range(1_001, 2_001)), ("Tag=write,", [10_000] * 5)]
    for second, (tag, values) in enumerate(intervals):
        histogram = HdrHistogram(1, 3_600_000_000, 3)
        for value in values:
            histogram.record_value(value)
        sys.stdout.write(tag)
        # A begin of zero stands for the time in the histogram.
        log.output_interval_histogram(histogram, second or 1e-9, second + 1, 1_000.0)


if __name__ == "__main__":
    main()
