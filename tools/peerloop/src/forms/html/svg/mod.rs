//! Pictures as inline SVG: a frame with two axes, and lines, areas and cells in it.
//!
//! Colours and dashes are classes of the page's style sheet, so a picture follows the light, the dark and the printed
//! form of the page. A picture has a title and a description for readers who do not see it. It needs no script and no
//! other file. The crates for plots write fixed colours on a grid of whole pixels, and have no axis of 1/(1-p).

mod scale;

use super::escape;
pub(crate) use scale::{Scale, Tick, changes, counts, latencies, nice, percentiles, times};

/// The width of every picture, in its own units. The page scales it to the width of the text.
pub(crate) const WIDTH: f64 = 760.0;
/// The space before the frame, for the labels of the vertical axis; equal in all pictures, so that their time axes
/// are in line.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 18.0;
/// The space above the frame, for the legend.
const TOP: f64 = 30.0;
/// The space below the frame, for the labels and the name of the horizontal axis.
const BOTTOM: f64 = 42.0;
/// The width that one character of a label needs at most.
const CHAR_WIDTH: f64 = 8.2;
/// The length of the sample of a line in the legend, with the space after it.
const SAMPLE_WIDTH: f64 = 34.0;

/// The height of the strip that a picture may have above its frame.
pub(crate) const STRIP: f64 = 26.0;

/// The horizontal positions of the frame.
pub(crate) const ACROSS: (f64, f64) = (LEFT, WIDTH - RIGHT);

/// Returns the vertical positions of a frame of this height, from its bottom to its top.
pub(crate) fn upwards(height: f64) -> (f64, f64) {
    (TOP + height, TOP)
}

/// An axis of a picture.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) ticks: Vec<Tick>,
    /// The quantity, with its unit unless the labels have it.
    pub(crate) name: &'static str,
}

impl Axis {
    /// Returns the axis in a frame that is lower by `strip`, so that there is room above it.
    pub(crate) fn below(mut self, strip: f64) -> Self {
        self.scale = self.scale.below(strip);
        self
    }
}

/// A point in values of the axes, or a gap in the line.
pub(crate) type Point = Option<(f64, f64)>;

/// A picture that is being drawn.
#[derive(Debug)]
pub(crate) struct Plot {
    x: Axis,
    y: Axis,
    /// The parts behind the grid.
    back: String,
    front: String,
    legend: String,
    legend_end: f64,
}

impl Plot {
    pub(crate) fn new(x: Axis, y: Axis) -> Self {
        let (back, front, legend) = (String::new(), String::new(), String::new());
        Self { x, y, back, front, legend, legend_end: LEFT }
    }

    /// Draws a line through points, and names it in the legend. A gap interrupts the line.
    pub(crate) fn line(&mut self, class: &str, name: &str, points: impl IntoIterator<Item = Point>) {
        self.trace(class, points);
        let (from, to) = (self.legend_end, self.legend_end + SAMPLE_WIDTH - 8.0);
        let sample = format!("<path class=\"line {class}\" d=\"M{} 12H{}\"/>", number(from), number(to));
        self.name(&sample, SAMPLE_WIDTH, name);
    }

    /// Draws a line that the legend does not name.
    pub(crate) fn trace(&mut self, class: &str, points: impl IntoIterator<Item = Point>) {
        let mut path = String::new();
        let mut is_first = true;
        for point in points {
            let Some((x, y)) = point else {
                is_first = true;
                continue;
            };
            let [x, y] = [self.x.scale.at(x), self.y.scale.at(y)].map(number);
            // The line of length zero makes a point between two gaps visible.
            path += &if is_first { format!("M{x} {y}h0L{x} {y}") } else { format!(" {x} {y}") };
            is_first = false;
        }
        self.front += &format!("<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// Draws marks at points, each with a text that is shown if the pointer is over it.
    pub(crate) fn marks(&mut self, class: &str, marks: impl IntoIterator<Item = ((f64, f64), String)>) {
        for ((x, y), text) in marks {
            let [x, y] = [self.x.scale.at(x), self.y.scale.at(y)].map(number);
            let text = escape::text(&text);
            self.front += &format!(
                "<circle class=\"mark {class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"><title>{text}</title></circle>"
            );
        }
    }

    /// Draws vertical intervals at values of the horizontal axis; an end of infinity is at the end of the axis.
    pub(crate) fn whiskers(&mut self, class: &str, intervals: impl IntoIterator<Item = (f64, (f64, f64))>) {
        let mut path = String::new();
        for (x, (low, high)) in intervals {
            let (x, [low, high]) = (self.x.scale.at(x), [low, high].map(|value| self.y.scale.at(value)));
            let [x, from, low, high] = [x, x - 4.0, low, high].map(number);
            path += &format!("M{from} {low}h8M{from} {high}h8M{x} {low}V{high}");
        }
        if !path.is_empty() {
            self.front += &format!("<path class=\"line whisker {class}\" d=\"{path}\"/>");
        }
    }

    /// Names a kind of marks in the legend.
    pub(crate) fn mark_key(&mut self, class: &str, name: &str) {
        let x = number(self.legend_end + 6.0);
        self.name(&format!("<circle class=\"mark {class}\" cx=\"{x}\" cy=\"12\" r=\"3.5\"/>"), 16.0, name);
    }

    /// Names a colour of areas or cells in the legend.
    pub(crate) fn key(&mut self, class: &str, name: &str) {
        let sample = format!("<path class=\"{class}\" d=\"M{} 6h14v12h-14z\"/>", number(self.legend_end));
        self.name(&sample, 20.0, name);
    }

    fn name(&mut self, sample: &str, sample_width: f64, name: &str) {
        let x = self.legend_end + sample_width;
        self.legend += &format!("{sample}<text x=\"{}\" y=\"16\">{}</text>", number(x), escape::text(name));
        self.legend_end = x + name.chars().count() as f64 * CHAR_WIDTH + 16.0;
    }

    /// Fills parts of the frame between two values of the horizontal axis, each with a label at its top if there is
    /// room for it.
    pub(crate) fn bands(&mut self, class: &str, bands: &[((f64, f64), String)]) {
        let (bottom, top) = self.y.scale.positions();
        let mut path = String::new();
        let mut labels = String::new();
        for ((from, to), label) in bands {
            let [from, to] = [*from, *to].map(|value| self.x.scale.at(value));
            let [x, y, width, height, back] = [from, top, to - from, bottom - top, from - to].map(number);
            path += &format!("M{x} {y}h{width}v{height}h{back}z");
            if (to - from) > label.chars().count() as f64 * CHAR_WIDTH + 4.0 {
                let (x, y) = (number(f64::midpoint(from, to)), number(top + 13.0));
                labels += &format!("<text class=\"mid\" x=\"{x}\" y=\"{y}\">{}</text>", escape::text(label));
            }
        }
        if !path.is_empty() {
            self.back += &format!("<path class=\"{class}\" d=\"{path}\"/>{labels}");
        }
    }

    /// Draws a vertical line with a label before it.
    pub(crate) fn vertical(&mut self, class: &str, value: f64, label: &str) {
        let (bottom, top) = self.y.scale.positions();
        let x = self.x.scale.at(value);
        self.front +=
            &format!("<path class=\"line {class}\" d=\"M{} {}V{}\"/>", number(x), number(top), number(bottom));
        let (x, y) = (number(x - 5.0), number(bottom - 7.0));
        self.front += &format!("<text class=\"end halo\" x=\"{x}\" y=\"{y}\">{}</text>", escape::text(label));
    }

    /// Draws a horizontal line with a label above it, `at` units from its begin, if the value is on the axis.
    pub(crate) fn horizontal(&mut self, class: &str, value: f64, label: &str, at: f64) {
        if self.y.scale.holds(value) {
            let y = self.y.scale.at(value);
            let (first, last) = ACROSS;
            self.front += &format!("<path class=\"line {class}\" d=\"M{first} {}H{last}\"/>", number(y));
            let (x, y) = (number(first + at), number(y - 5.0));
            self.front += &format!("<text class=\"halo\" x=\"{x}\" y=\"{y}\">{}</text>", escape::text(label));
        }
    }

    /// Fills cells with one colour: their horizontal and vertical ends, as values of the axes.
    pub(crate) fn cells(&mut self, class: &str, cells: impl IntoIterator<Item = [(f64, f64); 2]>) {
        let mut path = String::new();
        for [(from, to), (low, high)] in cells {
            let [from, to] = [from, to].map(|value| self.x.scale.at(value));
            let [low, high] = [low, high].map(|value| self.y.scale.at(value));
            let (width, height) = (to - from, low - high);
            let [x, y, width, height, back] = [from, high, width, height, -width].map(number);
            path += &format!("M{x} {y}h{width}v{height}h{back}z");
        }
        if !path.is_empty() {
            self.front += &format!("<path class=\"{class}\" d=\"{path}\"/>");
        }
    }

    /// Fills parts of a strip above the frame, each with a colour and its horizontal ends; nothing without parts.
    pub(crate) fn strip(&mut self, name: &str, parts: &[(&str, (f64, f64))]) {
        let (_, top) = self.y.scale.positions();
        for (class, (from, to)) in parts {
            let [from, to] = [*from, *to].map(|value| self.x.scale.at(value));
            let [x, width, y] = [from, to - from, top - STRIP].map(number);
            self.front += &format!("<path class=\"{class} lost\" d=\"M{x} {y}h{width}v{}h-{width}z\"/>", STRIP - 10.0);
        }
        if !parts.is_empty() {
            let (x, y) = (number(LEFT - 7.0), number(top - 14.0));
            self.front += &format!("<text class=\"end bad\" x=\"{x}\" y=\"{y}\">{}</text>", escape::text(name));
        }
    }

    /// Returns the picture. `id` is unique in the page; the description stands for the picture where it is not seen.
    pub(crate) fn finish(self, id: &str, title: &str, description: &str) -> String {
        let (bottom, _) = self.y.scale.positions();
        let height = number(bottom + BOTTOM);
        let (title, description) = (escape::text(title), escape::text(description));
        format!(
            "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" aria-labelledby=\"{id}-title {id}-desc\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>\
             {back}{axes}{front}{legend}</svg>\n",
            back = self.back,
            axes = self.axes(),
            front = self.front,
            legend = self.legend,
        )
    }

    fn axes(&self) -> String {
        let (bottom, top) = self.y.scale.positions();
        let (left, right) = ACROSS;
        let mut grid = String::new();
        let mut texts = String::new();
        for (value, label) in self.x.ticks.iter().filter(|(value, _)| self.x.scale.holds(*value)) {
            let x = self.x.scale.at(*value);
            grid += &format!("M{} {}V{}", number(x), number(top), number(bottom));
            // The labels at the ends of the axis stay within the picture.
            let half = label.chars().count() as f64 * CHAR_WIDTH / 2.0;
            let x = number(x.min(WIDTH - half));
            texts += &format!("<text class=\"mid\" x=\"{x}\" y=\"{}\">{label}</text>", number(bottom + 17.0));
        }
        for (value, label) in self.y.ticks.iter().filter(|(value, _)| self.y.scale.holds(*value)) {
            let y = self.y.scale.at(*value);
            grid += &format!("M{left} {}H{right}", number(y));
            let (x, y) = (number(left - 7.0), number(y + 4.0));
            texts += &format!("<text class=\"end\" x=\"{x}\" y=\"{y}\">{label}</text>");
        }
        let (middle, below) = (number(f64::midpoint(left, right)), number(bottom + 36.0));
        let (x_name, y_name, height) = (self.x.name, self.y.name, number(f64::midpoint(bottom, top)));
        format!(
            "<path class=\"grid\" d=\"{grid}\"/>{texts}<text class=\"mid name\" x=\"{middle}\" y=\"{below}\">{x_name}\
             </text><text class=\"mid name\" transform=\"translate(14 {height}) rotate(-90)\">{y_name}</text>"
        )
    }
}

/// Formats a position with at most one decimal.
fn number(position: f64) -> String {
    let text = format!("{position:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let x = Axis {
            scale: Scale::linear((0.0, 10.0), ACROSS),
            ticks: vec![(0.0, "0 s".to_owned()), (10.0, "10 s".to_owned())],
            name: "time",
        };
        let y = Axis {
            scale: Scale::log((1.0, 100.0), upwards(100.0)),
            ticks: vec![(1.0, "1".to_owned()), (1_000.0, "beyond".to_owned())],
            name: "values",
        };
        Plot::new(x, y)
    }

    #[test]
    fn a_gap_interrupts_a_line_and_a_lone_point_stays_visible() {
        let mut plot = plot();
        plot.line("a", "one", [Some((0.0, 1.0)), Some((5.0, 10.0)), None, Some((10.0, 100.0))]);
        let picture = plot.finish("id", "a title", "a description");
        assert!(picture.contains("d=\"M76 130h0L76 130 409 80M742 30h0L742 30\""), "{picture}");
        assert!(!picture.contains("beyond"), "a label outside the axis: {picture}");
    }

    #[test]
    fn texts_are_escaped_and_the_picture_has_a_title_and_a_description() {
        let mut plot = plot();
        plot.line("a", "<name>", []);
        plot.bands("b", &[((0.0, 10.0), "<band>".to_owned())]);
        plot.vertical("c", 5.0, "<label>");
        plot.marks("d", [((5.0, 10.0), "<mark>".to_owned())]);
        let picture = plot.finish("id", "<title>", "<description>");
        for part in ["name", "band", "label", "mark", "title", "description"] {
            assert!(picture.contains(&format!("&lt;{part}&gt;")), "{part}: {picture}");
        }
        assert!(picture.contains("role=\"img\"") && picture.contains("aria-labelledby=\"id-title id-desc\""));
    }

    #[test]
    fn cells_of_one_colour_share_a_path() {
        let mut plot = plot();
        plot.horizontal("limit", 1_000.0, "off", 0.0);
        plot.horizontal("limit", 10.0, "on", 0.0);
        plot.cells("h1", [[(0.0, 5.0), (1.0, 10.0)], [(5.0, 10.0), (10.0, 100.0)]]);
        plot.cells("h2", []);
        plot.whiskers("w1", [(5.0, (10.0, f64::INFINITY))]);
        plot.whiskers("w2", []);
        let picture = plot.finish("id", "", "");
        assert!(!picture.contains("h2") && !picture.contains("w2"), "{picture}");
        assert!(picture.contains("line whisker w1\" d=\"M405 80h8M405 30h8M409 80V30\""), "{picture}");
        assert!(picture.contains(">on</text>") && !picture.contains(">off</text>"), "a line is outside the axis");
        assert!(picture.contains("<path class=\"h1\" d=\"M76 80h333v50h-333zM409 30h333v50h-333z\"/>"), "{picture}");
    }
}
