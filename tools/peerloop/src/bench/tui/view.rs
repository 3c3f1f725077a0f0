//! The drawing of the live view: plain functions from a [`Scene`] to a frame.
//!
//! From top to bottom: the title, the progress line, the counts, the latencies over time, the replies per second, the
//! generator's lags and the keys. A low terminal shows only the first of these.

use super::keys;
use crate::bench::live::Row;
use crate::units::{show_latency, show_rate};
use peerloop::load::{Phase, Progress};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};
use std::time::Duration;

/// Minimum heights of the terminal for the lags, and for the replies per second, in lines.
const MIN_HEIGHT_FOR_LAGS: u16 = 28;
const MIN_HEIGHT_FOR_RATE: u16 = 18;

/// The height of a small chart, in lines.
const SMALL_CHART_LINES: u16 = 8;

/// The values that are shown.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) title: &'a str,
    /// The progress line, as it is without the view.
    pub(super) line: &'a str,
    pub(super) progress: &'a Progress,
    /// The intervals so far.
    pub(super) rows: &'a [Row],
    pub(super) has_keys: bool,
}

/// One curve: its name, its colour, and the value of an interval.
type Curve = (&'static str, Color, fn(&Row) -> Option<Duration>);

const LATENCIES: [Curve; 3] = [
    ("max", Color::Magenta, |row| row.max),
    ("p99", Color::Yellow, |row| row.p99),
    ("p50", Color::Cyan, |row| row.p50),
];

const LAGS: [Curve; 2] =
    [("send p99", Color::Yellow, |row| row.send_lag), ("loop p99", Color::Blue, |row| row.loop_lag)];

/// Draws the scene on the whole frame.
pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let height = frame.area().height;
    let small = |min| Constraint::Length(if height >= min { SMALL_CHART_LINES } else { 0 });
    let (rate, lags) = (small(MIN_HEIGHT_FOR_RATE), small(MIN_HEIGHT_FOR_LAGS));
    let one = Constraint::Length(1);
    let areas: [Rect; 7] = Layout::vertical([one, one, one, Constraint::Min(0), rate, lags, one]).areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(scene.title, bold), areas[0]);
    frame.render_widget(Line::raw(scene.line), areas[1]);
    frame.render_widget(counts(scene.progress), areas[2]);
    latency_chart(frame, areas[3], "latency from the planned moment", scene, &LATENCIES);
    rate_chart(frame, areas[4], scene);
    latency_chart(frame, areas[5], "lag of the generator", scene, &LAGS);
    let help = if scene.has_keys { keys::HELP } else { "Ctrl-C stop and report, twice: stop at once" };
    frame.render_widget(Line::styled(help, Style::new().add_modifier(Modifier::DIM)), areas[6]);
}

/// Returns the line with the counts. Failures are red.
fn counts(progress: &Progress) -> Line<'static> {
    let peers = &progress.peers;
    let left = peers.ready.saturating_sub(peers.lost);
    let red = Style::new().fg(Color::Red);
    let bad = |count: u64, what: &str| match count {
        0 => Span::raw(format!("  {what} 0")),
        count => Span::styled(format!("  {what} {count}"), red),
    };
    let unsent = progress.planned.saturating_sub(progress.sent);
    Line::from(vec![
        Span::raw(format!("peers {left}/{}", peers.asked)),
        bad(peers.lost as u64, "lost"),
        bad(peers.failed as u64, "failed"),
        Span::raw(format!("   planned {}", progress.planned)),
        bad(unsent, "unsent"),
        Span::raw(format!("  answered {}", progress.answered)),
        Span::raw(format!("  in flight {}", progress.sent.saturating_sub(progress.answered))),
    ])
}

/// Returns a chart's title, followed by the names of its curves in their colours.
fn legend(title: &str, curves: &[Curve]) -> Line<'static> {
    let names = curves.iter().map(|(name, colour, _)| Span::styled(format!("  {name}"), Style::new().fg(*colour)));
    [Span::raw(title.to_owned())].into_iter().chain(names).collect()
}

/// Draws durations over time, on a logarithmic axis.
fn latency_chart(frame: &mut Frame<'_>, area: Rect, title: &str, scene: &Scene<'_>, curves: &[Curve]) {
    let title = legend(title, curves);
    let points: Vec<Vec<(f64, f64)>> = curves.iter().map(|(_, _, of)| points(scene.rows, *of)).collect();
    let values = points.iter().flatten().map(|(_, decade)| *decade);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return no_data(frame, area, title, scene);
    }
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let decades = (low as i32..=high as i32).map(|decade| show_latency(Duration::from_secs_f64(10_f64.powi(decade))));
    let chart = curves.iter().zip(&points).map(|((_, colour, _), points)| curve(*colour, points));
    let y = Axis::default().bounds([low, high]).labels(decades);
    frame.render_widget(framed(chart.collect(), title, scene, y), area);
}

/// Lists the moments of a curve in seconds, and its values as powers of ten in seconds.
fn points(rows: &[Row], of: fn(&Row) -> Option<Duration>) -> Vec<(f64, f64)> {
    let point = |row: &Row| {
        let seconds = of(row)?.max(Duration::from_nanos(1)).as_secs_f64();
        Some((row.end.as_secs_f64(), seconds.log10()))
    };
    rows.iter().filter_map(point).collect()
}

/// Draws the replies per second over time.
fn rate_chart(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let title = Line::raw("replies per second");
    let mut before = Duration::ZERO;
    let points: Vec<(f64, f64)> = scene
        .rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let seconds = row.end.saturating_sub(std::mem::replace(&mut before, row.end)).as_secs_f64();
            // The begin of the first shown interval is unknown if earlier ones are no longer kept.
            let is_known = index > 0 || scene.rows.len() < crate::bench::live::MAX_ROWS;
            (seconds > 0.0 && is_known).then(|| (row.end.as_secs_f64(), row.answered as f64 / seconds))
        })
        .collect();
    if points.is_empty() {
        return no_data(frame, area, title, scene);
    }
    let highest = points.iter().fold(1.0_f64, |highest, (_, rate)| highest.max(*rate));
    let labels = [0.0, highest / 2.0, highest].map(|rate| show_rate(rate.round()));
    let y = Axis::default().bounds([0.0, highest]).labels(labels);
    frame.render_widget(framed(vec![curve(Color::Green, &points)], title, scene, y), area);
}

fn curve<'a>(colour: Color, points: &'a [(f64, f64)]) -> Dataset<'a> {
    Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(Style::new().fg(colour)).data(points)
}

fn framed<'a>(curves: Vec<Dataset<'a>>, title: Line<'a>, scene: &Scene<'_>, y: Axis<'a>) -> Chart<'a> {
    let first = scene.rows.first().map_or(0.0, |row| row.end.as_secs_f64());
    let last = scene.rows.last().map_or(0.0, |row| row.end.as_secs_f64()).max(first + 1.0);
    let labels = [first, last].map(|seconds| format!("{seconds:.0} s"));
    let x = Axis::default().bounds([first, last]).labels(labels);
    Chart::new(curves).block(Block::bordered().title(title)).legend_position(None).x_axis(x).y_axis(y)
}

/// Draws an empty chart.
fn no_data(frame: &mut Frame<'_>, area: Rect, title: Line<'_>, scene: &Scene<'_>) {
    let reason = match scene.progress.phase {
        Phase::Ramp | Phase::Warmup => "no data before the counted part",
        Phase::Run | Phase::Drain | Phase::Done => "no data yet",
    };
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(Line::raw(reason).centered(), inner);
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::load::{Generator, GeneratorRequest, Plan, Rate};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;

    /// Returns the progress of a load whose loop has not started.
    fn progress() -> Progress {
        let plan = Plan::new(vec![([127, 0, 0, 1], 1).into()], 10, Rate::per_second(10));
        let config = peerloop::Config::new(peerloop::Network::Regtest);
        let mut reactor = peerloop::Reactor::new(config, Generator::new(plan)).expect("the loop can be built");
        let (reply, pending) = peerloop::api::Pending::new();
        reactor.handle().request(GeneratorRequest::Progress(reply)).expect("the queue has room");
        reactor.poll_once(Duration::ZERO).expect("the loop turns");
        pending.try_take().expect("the loop lives").expect("the loop has replied")
    }

    /// Draws on a terminal of this size, and returns its lines.
    fn drawn(width: u16, height: u16, progress: &Progress, rows: &[Row]) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("the backend never fails");
        let scene = Scene { title: "peerloop bench  TARGET", line: "the progress", progress, rows, has_keys: true };
        terminal.draw(|frame| draw(frame, &scene)).expect("the backend never fails");
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(usize::from(width));
        lines.map(|cells| cells.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned()).collect()
    }

    /// Returns intervals of one second with the same latencies.
    fn rows(count: u64) -> Vec<Row> {
        let time = |micros| Some(Duration::from_micros(micros));
        let row = |index| Row {
            end: Duration::from_secs(index + 1),
            answered: 500,
            p50: time(200),
            p99: time(3_000),
            max: time(40_000),
            send_lag: time(5),
            loop_lag: None,
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn the_view_has_the_counts_and_a_chart_for_each_question() {
        let mut progress = progress();
        (progress.planned, progress.sent, progress.answered) = (1_000, 990, 900);
        (progress.peers.ready, progress.peers.lost) = (8, 1);
        let lines = drawn(100, 36, &progress, &rows(20));
        assert_eq!(lines[..2], ["peerloop bench  TARGET", "the progress"]);
        assert_eq!(lines[2], "peers 7/10  lost 1  failed 0   planned 1000  unsent 10  answered 900  in flight 90");
        let has = |part: &str| assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
        has("latency from the planned moment  max  p99  p50");
        has("100 ms");
        has("replies per second");
        has("500/s");
        has("lag of the generator  send p99  loop p99");
        has("20 s");
        assert_eq!(lines[35], keys::HELP);
    }

    #[test]
    fn a_load_without_replies_shows_no_data() {
        let lines = drawn(80, 36, &progress(), &[]);
        let empty = lines.iter().filter(|line| line.contains("no data before the counted part")).count();
        assert_eq!(empty, 3, "{lines:#?}");
    }

    #[test]
    fn a_low_terminal_shows_the_most_important_parts() {
        let shown =
            |height: u16, part: &str| drawn(80, height, &progress(), &rows(3)).iter().any(|line| line.contains(part));
        for (height, rate, lags) in [(12, false, false), (20, true, false), (30, true, true)] {
            assert!(shown(height, "latency from the planned moment"), "{height}");
            assert_eq!(shown(height, "replies per second"), rate, "{height}");
            assert_eq!(shown(height, "lag of the generator"), lags, "{height}");
        }
    }

    #[test]
    fn terminals_of_every_size_can_be_drawn_on() {
        let progress = progress();
        for width in [1, 2, 3, 5, 8, 13, 21, 34, 200] {
            for height in [1, 2, 3, 4, 5, 8, 13, 21, 34] {
                drawn(width, height, &progress, &rows(2));
                drawn(width, height, &progress, &[]);
            }
        }
    }
}
