//! The parser of thresholds.
//!
//! ```text
//! METRIC [ "{" KEY "=" VALUE { "," KEY "=" VALUE } "}" ] ":" FUNCTION RELATION LIMIT [ "over" DURATION ]
//! ```
//!
//! A percentile is `p99.9` or `p(99.9)`. Spaces are allowed between all parts. An error names the part that is wrong,
//! its column and a correct example; a limit without a unit is never guessed.

use super::{DURATIONS, Function, Relation, Threshold, Unit, View};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdError {
    text: String,
    column: usize,
    problem: String,
}

impl ThresholdError {
    /// Returns the column of the wrong part, from 1, in characters.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read the threshold `{}` at column {}: {}", self.text, self.column, self.problem)
    }
}

impl std::error::Error for ThresholdError {}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, rest: text };
        reader.threshold()
    }
}

/// The text that is not yet read.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn threshold(&mut self) -> Result<Threshold, ThresholdError> {
        let metric = self.word().to_owned();
        if metric.is_empty() {
            return self.fail("write the name of a metric first, as in ping_rtt:p99<20ms");
        }
        let (stage, view) = self.selectors()?;
        if !self.skips(":") {
            return self.fail("write a colon and a function after the metric, as in ping_rtt:p99<20ms");
        }
        let function = self.function()?;
        let relation = self.relation()?;
        let limit = self.limit(function)?;
        let over = self.over()?;
        Ok(Threshold { metric, stage, view, function, relation, limit, over })
    }

    fn selectors(&mut self) -> Result<(Option<u32>, Option<View>), ThresholdError> {
        let (mut stage, mut view) = (None, None);
        if !self.skips("{") {
            return Ok((stage, view));
        }
        loop {
            self.rest = self.rest.trim_start();
            let before = self.rest;
            let key = self.word();
            if !self.skips("=") {
                self.rest = before;
                return self.fail("write KEY=VALUE between the braces, as in {stage=2} or {view=sent}");
            }
            let value_at = self.rest.trim_start();
            let value = self.word();
            let is_new = match key {
                "stage" => {
                    let Some(number) = value.parse().ok().filter(|&number: &u32| number > 0) else {
                        self.rest = value_at;
                        return self.fail(&format!("`{value}` is no stage; stages are numbered from 1"));
                    };
                    stage.replace(number).is_none()
                }
                "view" => {
                    let Some(found) = View::ALL.into_iter().find(|view| view.name() == value) else {
                        self.rest = value_at;
                        return self.fail(&format!("`{value}` is no view; write planned, sent or measured"));
                    };
                    view.replace(found).is_none()
                }
                _ => {
                    self.rest = before;
                    return self.fail(&format!("`{key}` is no selector; write stage or view"));
                }
            };
            if !is_new {
                self.rest = before;
                return self.fail(&format!("`{key}` is given twice"));
            }
            if self.skips("}") {
                return Ok((stage, view));
            }
            if !self.skips(",") {
                return self.fail("end the selectors with a brace, as in {stage=2,view=sent}");
            }
        }
    }

    fn function(&mut self) -> Result<Function, ThresholdError> {
        const KNOWN: &str = "the functions are p99 (or any other percentile), max, mean, count, rate and failed";
        self.rest = self.rest.trim_start();
        let before = self.rest;
        let after_p = before.strip_prefix('p').unwrap_or_default();
        if after_p.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '(' || c == '-') {
            self.rest = after_p;
            let has_parenthesis = self.skips("(");
            let number_at = self.rest.trim_start();
            let percent = self.number();
            if has_parenthesis && !self.skips(")") {
                return self.fail("close the parenthesis, as in p(99)");
            }
            return match percent.filter(|&percent| percent > 0.0 && percent <= 100.0) {
                Some(percent) => Ok(Function::Percentile(percent)),
                None => {
                    self.rest = number_at;
                    self.fail("a percentile is above 0 and at most 100, as in p99.9")
                }
            };
        }
        let name = self.word();
        let function = match name {
            "max" => Function::Max,
            "mean" => Function::Mean,
            "count" => Function::Count,
            "rate" => Function::Rate,
            "failed" => Function::Failed,
            _ => {
                self.rest = before;
                let problem = match name {
                    "" => format!("write a function after the colon; {KNOWN}"),
                    "avg" | "average" => format!("`{name}` is called mean here; {KNOWN}"),
                    "med" | "median" => format!("`{name}` is called p50 here; {KNOWN}"),
                    "min" => format!("a minimum says nothing about slow operations; {KNOWN}"),
                    _ => format!("there is no function `{name}`; {KNOWN}"),
                };
                return self.fail(&problem);
            }
        };
        Ok(function)
    }

    fn relation(&mut self) -> Result<Relation, ThresholdError> {
        let signs =
            [("<=", Relation::AtMost), ("<", Relation::Below), (">=", Relation::AtLeast), (">", Relation::Above)];
        match signs.into_iter().find(|(sign, _)| self.skips(sign)) {
            Some((_, relation)) => Ok(relation),
            None => self.fail("compare the function with a limit by <, <=, > or >="),
        }
    }

    fn limit(&mut self, function: Function) -> Result<f64, ThresholdError> {
        self.rest = self.rest.trim_start();
        let before = self.rest;
        let result = match function.unit() {
            Unit::Nanoseconds => self.duration(),
            Unit::Operations => self.count("write a number of operations, as in count>=1000"),
            Unit::PerSecond => self.rate(),
            Unit::Share => self.share(),
        };
        result.or_else(|problem| {
            self.rest = before;
            self.fail(&problem)
        })
    }

    /// Reads a duration, in nanoseconds.
    fn duration(&mut self) -> Result<f64, String> {
        let written = self.rest;
        let Some(number) = self.number() else {
            return Err("write a duration with its unit, as in 20ms".to_owned());
        };
        let digits = written[..written.len() - self.rest.len()].trim();
        let unit = self.word();
        let name = if matches!(unit, "\u{b5}s" | "\u{3bc}s") { "us" } else { unit };
        // After the number, `over` is the next part of the threshold and no unit.
        if name.is_empty() || name == "over" {
            return Err(format!("the duration `{digits}` has no unit; write {digits}ms, or ns, us, s, m or h"));
        }
        match DURATIONS.into_iter().find(|&(known, _)| known == name) {
            Some((_, nanos)) => Ok((number * nanos).round()),
            None => Err(format!("`{unit}` is no unit of time; write ns, us, ms, s, m or h")),
        }
    }

    /// Reads a number of operations, such as 500, 20k or 1m.
    fn count(&mut self, example: &str) -> Result<f64, String> {
        let Some(number) = self.number() else { return Err(example.to_owned()) };
        let before = self.rest;
        let factor = match self.word() {
            "" => 1.0,
            "k" => 1e3,
            "m" | "M" => 1e6,
            "over" => {
                self.rest = before;
                1.0
            }
            other => return Err(format!("`{other}` does not follow a number of operations; {example}")),
        };
        Ok(number * factor)
    }

    fn rate(&mut self) -> Result<f64, String> {
        const EXAMPLE: &str = "write operations per second, as in rate>=500/s or rate>20k";
        let number = self.count(EXAMPLE)?;
        if !self.skips("/") {
            return Ok(number);
        }
        match self.word() {
            "s" => Ok(number),
            "ms" => Ok(number * 1e3),
            other => Err(format!("`/{other}` is no unit of a rate; {EXAMPLE}")),
        }
    }

    fn share(&mut self) -> Result<f64, String> {
        const EXAMPLE: &str = "write a share from 0 to 1, or in percent, as in failed<0.1%";
        let number = self.number().ok_or(EXAMPLE)?;
        let share = if self.skips("%") { number / 100.0 } else { number };
        if share > 1.0 { Err(format!("more operations cannot fail than there are; {EXAMPLE}")) } else { Ok(share) }
    }

    fn over(&mut self) -> Result<Option<Duration>, ThresholdError> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let before = self.rest;
        if self.word() != "over" {
            self.rest = before;
            return self.fail("only `over` and a duration may follow the limit, as in ping_rtt:p99<20ms over 10s");
        }
        self.rest = self.rest.trim_start();
        let before = self.rest;
        let nanos = self.duration().and_then(|nanos| match nanos > 0.0 {
            true => Ok(nanos),
            false => Err("a window is longer than nothing, as in over 10s".to_owned()),
        });
        match nanos {
            Ok(nanos) => {
                self.rest = self.rest.trim_start();
                if self.rest.is_empty() {
                    return Ok(Some(Duration::from_nanos(nanos as u64)));
                }
                self.fail("the threshold ends with the window's duration")
            }
            Err(problem) => {
                self.rest = before;
                self.fail(&problem)
            }
        }
    }

    /// Skips spaces and then this mark; returns whether it is there.
    fn skips(&mut self, mark: &str) -> bool {
        let after = self.rest.trim_start().strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Reads spaces and then letters, digits and underscores, of which there may be none.
    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if !word.is_empty() {
            self.rest = after;
        }
        word
    }

    /// Reads spaces and then a decimal number without a sign.
    fn number(&mut self) -> Option<f64> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..end].parse().ok().filter(|number: &f64| number.is_finite())?;
        self.rest = &rest[end..];
        Some(number)
    }

    /// Reports a problem at the current position.
    fn fail<T>(&self, problem: &str) -> Result<T, ThresholdError> {
        let read = &self.text[..self.text.len() - self.rest.trim_start().len()];
        let column = read.chars().count() + 1;
        Err(ThresholdError { text: self.text.to_owned(), column, problem: problem.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Threshold {
        text.parse().unwrap_or_else(|error: ThresholdError| panic!("{error}"))
    }

    #[test]
    fn every_part_is_read() {
        let found = parsed("ping_rtt{stage=2,view=sent}:p99.9<80ms over 10s");
        let expected = Threshold {
            metric: "ping_rtt".to_owned(),
            stage: Some(2),
            view: Some(View::Sent),
            function: Function::Percentile(99.9),
            relation: Relation::Below,
            limit: 80e6,
            over: Some(Duration::from_secs(10)),
        };
        assert_eq!(found, expected);
        assert_eq!(parsed(" ping_rtt { view = sent , stage = 2 } : p( 99.9 ) < 80 ms  over  10 s "), expected);
    }

    #[test]
    fn limits_have_the_units_of_their_functions() {
        for (text, limit, written) in [
            ("a:max<=1.5us", 1_500.0, "a:max<=1500ns"),
            ("a:max<1.5\u{b5}s", 1_500.0, "a:max<1500ns"),
            ("a:mean<0.1ms", 100_000.0, "a:mean<100us"),
            ("a:p50<2h", 7.2e12, "a:p50<2h"),
            ("a:p100<90s", 9e10, "a:p100<90s"),
            ("a:p99<0s", 0.0, "a:p99<0s"),
            ("a:count>=20k", 20_000.0, "a:count>=20000"),
            ("a:count>1", 1.0, "a:count>1"),
            ("a:rate>500", 500.0, "a:rate>500/s"),
            ("a:rate>500/s", 500.0, "a:rate>500/s"),
            ("a:rate>=1.5k/s over 1m", 1_500.0, "a:rate>=1500/s over 1m"),
            ("a:rate>10/ms", 10_000.0, "a:rate>10000/s"),
            ("a:rate>7 over 90s", 7.0, "a:rate>7/s over 90s"),
            ("a:failed<0.1%", 0.001, "a:failed<0.001"),
            ("a:failed<=0.25", 0.25, "a:failed<=0.25"),
            ("a:failed<1 over 500ms", 1.0, "a:failed<1 over 500ms"),
        ] {
            let threshold = parsed(text);
            assert_eq!((threshold.limit, &*threshold.to_string()), (limit, written), "{text}");
        }
    }

    /// Every mistake, the column at which it is, and a part of the message.
    #[test]
    fn a_mistake_is_named_with_its_column_and_a_remedy() {
        for (text, column, problem) in [
            ("", 1, "write the name of a metric first"),
            (":p99<20ms", 1, "write the name of a metric first"),
            ("ping_rtt", 9, "write a colon"),
            ("p99<20ms", 4, "write a colon"),
            ("ping_rtt:", 10, "write a function"),
            ("ping_rtt:avg<20ms", 10, "called mean"),
            ("ping_rtt:med<20ms", 10, "called p50"),
            ("ping_rtt:min<20ms", 10, "slow operations"),
            ("ping_rtt:p<20ms", 10, "no function `p`"),
            ("ping_rtt:p0<20ms", 11, "above 0"),
            ("ping_rtt:p101<20ms", 11, "at most 100"),
            ("ping_rtt:p(-1)<20ms", 12, "close the parenthesis"),
            ("ping_rtt:p9.9.9<20ms", 11, "at most 100"),
            ("ping_rtt:p(99<20ms", 14, "close the parenthesis"),
            ("ping_rtt:p99", 13, "compare"),
            ("ping_rtt:p99==20ms", 13, "compare"),
            ("ping_rtt:p99=<20ms", 13, "compare"),
            ("ping_rtt:p99<", 14, "write a duration"),
            ("ping_rtt:p99<-20ms", 14, "write a duration"),
            ("ping_rtt:p99<20", 14, "`20` has no unit; write 20ms"),
            ("ping_rtt:p99<20 over 10s", 14, "has no unit"),
            ("ping_rtt:p99<20sec", 14, "`sec` is no unit of time"),
            ("ping_rtt:p99<20msover 10s", 14, "`msover` is no unit"),
            ("ping_rtt:p99<20ms over", 23, "write a duration"),
            ("ping_rtt:p99<20ms over 10", 24, "`10` has no unit"),
            ("ping_rtt:p99<20ms over 0s", 24, "longer than nothing"),
            ("ping_rtt:p99<20ms for 10s", 19, "only `over`"),
            ("ping_rtt:p99<20ms over 10s,", 27, "ends with"),
            ("ping_rtt:count>many", 16, "number of operations"),
            ("ping_rtt:count>20ms", 16, "`ms` does not follow"),
            ("ping_rtt:rate>20/h", 15, "`/h` is no unit"),
            ("ping_rtt:failed<20%%", 20, "only `over`"),
            ("ping_rtt:failed<120%", 17, "more operations cannot fail"),
            ("ping_rtt:failed<2", 17, "more operations cannot fail"),
            ("ping_rtt{}:p99<20ms", 10, "KEY=VALUE"),
            ("ping_rtt{stage}:p99<20ms", 10, "KEY=VALUE"),
            ("ping_rtt{stage=0}:p99<20ms", 16, "numbered from 1"),
            ("ping_rtt{stage=x}:p99<20ms", 16, "`x` is no stage"),
            ("ping_rtt{view=actual}:p99<20ms", 15, "`actual` is no view"),
            ("ping_rtt{peer=1}:p99<20ms", 10, "`peer` is no selector"),
            ("ping_rtt{stage=1,stage=2}:p99<20ms", 18, "`stage` is given twice"),
            ("ping_rtt{stage=1:p99<20ms", 17, "end the selectors"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert!(error.problem.contains(problem), "{text}: {error}");
            assert_eq!(error.column(), column, "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_written_threshold_is_read_as_the_same(
            (stage, view) in (prop::option::of(1_u32..100), prop::option::of(0_usize..3)),
            over in prop::option::of(1_u64..1_u64 << 50),
            (kind, percent, number) in (0_u8..6, 0.001_f64..=100.0, 0_u64..1 << 53),
            relation in 0_usize..4,
        ) {
            let function = match kind {
                0 => Function::Percentile(percent),
                1 => Function::Max,
                2 => Function::Mean,
                3 => Function::Count,
                4 => Function::Rate,
                _ => Function::Failed,
            };
            let limit = if kind == 5 { number as f64 / (1_u64 << 53) as f64 } else { number as f64 };
            let relation = [Relation::Below, Relation::AtMost, Relation::Above, Relation::AtLeast][relation];
            let threshold = Threshold {
                metric: "tx_getdata".to_owned(),
                stage,
                view: view.map(|index| View::ALL[index]),
                function,
                relation,
                limit,
                over: over.map(Duration::from_nanos),
            };
            prop_assert_eq!(parsed(&threshold.to_string()), threshold);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9_{}=:,.<>()% /\u{b5}]{0,40}|.{0,40}") {
            if let Err(error) = text.parse::<Threshold>() {
                prop_assert!(error.column() <= text.chars().count() + 1);
            }
        }
    }
}
