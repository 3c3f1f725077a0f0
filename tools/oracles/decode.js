// Decodes the results of a run with the package hdr-histogram-js of npm, and compares them with each other.
//
// Usage: node decode.js PROGRAM DIR, where DIR was written by `PROGRAM bench -o DIR`, with NODE_PATH naming the folder
// of the package. The checks are those of decode.py, which explains them.

const { spawnSync } = require("child_process");
const fs = require("fs");
const hdr = require("hdr-histogram-js");

const PERCENTS = [10, 50, 75, 90, 99, 99.9, 99.99, 100];
const [, , program, folder] = process.argv;

function check(what, name, found, expected) {
  if (found !== expected) {
    console.error(`${what}: ${name} is ${String(found).slice(0, 500)}, but the program has ${String(expected).slice(0, 500)}`);
    process.exit(1);
  }
}

// The default of 32 bits would limit the counts.
const decoded = (text) => hdr.decodeFromCompressedBase64(text, 64);

const empty = () =>
  hdr.build({ lowestDiscernibleValue: 1, highestTrackableValue: 2 ** 53 - 1, numberOfSignificantValueDigits: 3, bitBucketSize: 64 });

// The values of a histogram with their counts.
const buckets = (histogram) => histogram.toString() + histogram.outputPercentileDistribution(1_000, 1);

// The rank that the package uses for a percentile, which its interface does not offer.
function rankOf(percent, count) {
  const product = (Math.min(percent, 100) / 100.0) * count;
  const ulp = 2 ** (Math.floor(Math.log2(product)) - 52);
  return Math.max(Math.ceil(product - ulp), 1);
}

function comparePercentiles(key, histogram, view) {
  const operations = view.count + view.failed;
  const label = (percent) => ((100 * (rankOf(percent, view.count) - 0.5)) / operations).toFixed(9);
  const labels = PERCENTS.map((percent) => [percent, label(percent)]);
  const list = [...new Set(labels.map(([, text]) => text))].join(",");
  const output = spawnSync(program, ["report", folder, "--format", "json", "--percentiles", list], { maxBuffer: 1 << 30 });
  const [name, viewName] = key.split(".");
  const metric = JSON.parse(output.stdout).metrics.find((metric) => metric.name === name);
  for (const [percent, text] of labels) {
    check(key, `percentile ${percent} (${text})`, histogram.getValueAtPercentile(percent), metric[viewName].percentiles[text]);
  }
}

function sumOfLog(text) {
  const sums = {};
  const reader = new hdr.HistogramLogReader(text, 64);
  for (let histogram = reader.nextIntervalHistogram(); histogram; histogram = reader.nextIntervalHistogram()) {
    sums[histogram.tag] ??= empty();
    sums[histogram.tag].add(histogram);
  }
  return sums;
}

const run = JSON.parse(fs.readFileSync(`${folder}/result.json`));
const totals = {};
let latencies = 0;
for (const metric of run.metrics) {
  for (const name of ["planned", "sent", "measured"].filter((name) => name in metric)) {
    const [key, view] = [`${metric.name}.${name}`, metric[name]];
    const histogram = (totals[key] = decoded(view.hdr));
    check(key, "count", histogram.totalCount, view.count);
    latencies += view.count;
    if (view.count > 0) {
      check(key, "max", histogram.maxValue, view.max);
      comparePercentiles(key, histogram, view);
    }
  }
}
for (const series of run.timeline.histograms) {
  const [key, sum] = [`${series.metric}.${series.view}`, empty()];
  series.intervals.filter((text) => text !== null).forEach((text) => sum.add(decoded(text)));
  check(key, "the sum of the document's intervals", buckets(sum), buckets(totals[key]));
}
const logged = sumOfLog(fs.readFileSync(`${folder}/intervals.hlog`, "utf8"));
for (const [key, sum] of Object.entries(logged)) {
  check(key, "the sum of the interval log", buckets(sum), buckets(totals[key]));
}
const recorded = run.timeline.histograms.filter((series) => series.intervals.some((text) => text !== null));
check("tags", "their number in the interval log", Object.keys(logged).length, recorded.length);
console.log(`hdr-histogram-js (npm): ${Object.keys(totals).length} histograms with ${latencies} latencies agree, and so do their intervals`);
