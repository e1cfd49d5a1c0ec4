//! Latency over time, drawn with characters and as SVG, and the arithmetic for it.

use std::fmt::Write;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::traffic::{MIGRATION, Sample, THINK_TIME};

/// The resolution of the curves.
pub(super) const BUCKET: Duration = Duration::from_millis(100);
/// What the vertical axis begins with, in milliseconds.
const LOWEST_MS: f64 = 1.0;

/// A moment worth a mark, in seconds on the curve's own axis.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// When.
    pub(super) at: f64,
    /// What happened.
    pub(super) label: String,
}

/// One run's latency over time.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// What is above it.
    pub(super) title: String,
    /// For each [`BUCKET`] the longest latency in milliseconds, see [`worst_per_bucket`].
    pub(super) values: Vec<Option<f64>>,
    /// Where the first bucket begins, in seconds on the axis (0 is when the migration began).
    pub(super) from: f64,
    /// The migration's statements.
    pub(super) marks: Vec<Mark>,
}

impl Curve {
    /// Where the last bucket ends, in seconds on the axis.
    fn to(&self) -> f64 {
        self.from + self.values.len() as f64 * BUCKET.as_secs_f64()
    }

    /// The longest latency of the buckets that overlap a stretch of the axis.
    fn worst_between(&self, from: f64, to: f64) -> Option<f64> {
        let width = BUCKET.as_secs_f64();
        // A billionth of a second less, for sums of tenths that come out a hair too long.
        let first = ((from - self.from + 1e-9) / width).floor();
        let last = ((to - self.from - 1e-9) / width).floor();
        if last < 0.0 {
            return None;
        }
        let range = first.max(0.0) as usize..=last as usize;
        let values = self.values.iter().enumerate();
        let values = values.filter(|(index, _)| range.contains(index));
        values.filter_map(|(_, value)| *value).reduce(f64::max)
    }
}

/// The axes that all curves of a picture share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axes {
    /// Seconds at the left edge.
    pub(super) from: f64,
    /// Seconds at the right edge.
    pub(super) to: f64,
    /// Powers of ten from [`LOWEST_MS`] to the top.
    pub(super) decades: u32,
    /// The budget in milliseconds, marked with a line.
    pub(super) budget_ms: f64,
}

impl Axes {
    /// Axes that hold all of these curves, and one second at the least.
    pub(super) fn around(curves: &[Curve], budget_ms: f64) -> Self {
        let values = curves
            .iter()
            .flat_map(|curve| curve.values.iter().flatten());
        let highest = values.copied().fold(1000.0, f64::max);
        Self {
            from: curves.iter().map(|curve| curve.from).fold(0.0, f64::min),
            to: curves.iter().map(Curve::to).fold(1.0, f64::max),
            decades: (highest / LOWEST_MS).log10().ceil() as u32,
            budget_ms,
        }
    }

    /// How high a latency is on the logarithmic axis: 0 at the bottom, 1 at the top.
    fn height(&self, ms: f64) -> f64 {
        ((ms / LOWEST_MS).log10() / f64::from(self.decades)).clamp(0.0, 1.0)
    }

    /// How far right a moment is: 0 at the left edge, 1 at the right.
    fn right(&self, seconds: f64) -> f64 {
        ((seconds - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// For each bucket of a run of `length`: the longest latency among the queries that were under way
/// in it, each with the whole time it took in the end. So a query that took four seconds stands as
/// a block four seconds wide and four seconds high, and no point is a made-up number. A bucket
/// without any query has no value.
pub(super) fn worst_per_bucket(samples: &[Sample], length: Duration) -> Vec<Option<f64>> {
    let mut values = vec![None; bucket(length)];
    for sample in samples {
        count(&mut values, sample);
    }
    values
}

/// Raises every bucket that the sample was under way in to its latency.
pub(super) fn count(values: &mut [Option<f64>], sample: &Sample) {
    let ms = milliseconds(sample.latency);
    let end = bucket(sample.end()) + 1;
    for value in values.iter_mut().take(end).skip(bucket(sample.start)) {
        *value = Some(value.map_or(ms, |worst| worst.max(ms)));
    }
}

/// The number of the bucket that a moment is in.
pub(super) fn bucket(at: Duration) -> usize {
    (at.as_nanos() / BUCKET.as_nanos()) as usize
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A duration as a person would say it.
pub(super) fn human(duration: Duration) -> String {
    let ms = milliseconds(duration);
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

/// The nearest-rank percentile (`share` of 0.99 is p99) of latencies in ascending order.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let index = rank.saturating_sub(1);
    sorted
        .get(index)
        .or(sorted.last())
        .copied()
        .unwrap_or_default()
}

/// The latencies in ascending order, with those of the queries that a stuck client could not send:
/// a client that usually sends one every `interval` and got no answer for four seconds would else
/// count once, and a stall of everybody would vanish from every percentile. Each such query counts
/// with the rest of the wait, as if it had been sent on time.
pub(super) fn as_if_sent_on_time(
    latencies: impl IntoIterator<Item = Duration>,
    interval: Duration,
) -> Vec<Duration> {
    let mut all = Vec::new();
    for latency in latencies {
        all.push(latency);
        let mut rest = latency.saturating_sub(interval);
        while rest >= interval && !interval.is_zero() {
            all.push(rest);
            rest -= interval;
        }
    }
    all.sort_unstable();
    all
}

/// What a run yielded. All moments are on the clock of the samples.
pub(super) struct RunRecord {
    pub(super) name: &'static str,
    pub(super) samples: Vec<Sample>,
    /// When the traffic was measured before the migration.
    pub(super) baseline: Range<Duration>,
    /// When the migration ran.
    pub(super) migration: Range<Duration>,
    /// When its statements began.
    pub(super) statements: Vec<(Duration, &'static str)>,
    /// When the measuring ended.
    pub(super) end: Duration,
    pub(super) most_stuck: usize,
    pub(super) notices: Vec<String>,
    pub(super) failures: Vec<String>,
}

impl RunRecord {
    /// The samples that were under way at some time between the two moments.
    pub(super) fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Sample> {
        let samples = self.samples.iter();
        samples.filter(move |sample| sample.end() >= from && sample.start <= to)
    }

    /// The longest that a query took from the beginning of the migration on.
    pub(super) fn worst(&self) -> Duration {
        let samples = self.between(self.migration.start, self.end);
        samples
            .map(|sample| sample.latency)
            .max()
            .unwrap_or_default()
    }

    /// The latencies before the migration, in ascending order.
    pub(super) fn baseline(&self) -> Vec<Duration> {
        let samples = self.between(self.baseline.start, self.baseline.end);
        let mut latencies: Vec<Duration> = samples.map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        latencies
    }

    /// The 99th percentile during the migration, see [`as_if_sent_on_time`].
    pub(super) fn p99(&self) -> Duration {
        let interval = THINK_TIME + percentile(&self.baseline(), 0.5);
        let samples = self.between(self.migration.start, self.migration.end);
        let latencies = samples.map(|sample| sample.latency);
        percentile(&as_if_sent_on_time(latencies, interval), 0.99)
    }

    /// The longest time during the migration in which not one query was answered.
    pub(super) fn longest_silence(&self) -> Duration {
        let mut ends: Vec<Duration> = self
            .between(self.migration.start, self.end)
            .map(Sample::end)
            .collect();
        ends.push(self.migration.start);
        ends.sort_unstable();
        let gaps = ends.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        gaps.max().unwrap_or_default()
    }

    pub(super) fn took(&self) -> Duration {
        self.migration.end.saturating_sub(self.migration.start)
    }

    /// Whether the migration did what it should.
    pub(super) fn migrated(&self) -> bool {
        self.statements.len() == MIGRATION.len() && self.failures.is_empty()
    }

    pub(super) fn curve(&self) -> Curve {
        let first = bucket(self.baseline.start);
        let values = worst_per_bucket(&self.samples, self.end);
        let zero = self.migration.start;
        let mut marks = marks_of(&self.statements, zero);
        marks.push(Mark {
            at: self.took().as_secs_f64(),
            label: if self.migrated() { "done" } else { "given up" }.to_owned(),
        });
        let from = BUCKET.as_secs_f64() * first as f64 - zero.as_secs_f64();
        Curve {
            title: format!(
                "{}: the worst query took {}",
                capitalised(self.name),
                human(self.worst())
            ),
            values: values.get(first..).unwrap_or_default().to_vec(),
            from,
            marks,
        }
    }
}

/// The statements as marks on an axis whose 0 is at `zero`.
pub(super) fn marks_of(statements: &[(Duration, &'static str)], zero: Duration) -> Vec<Mark> {
    let mark = |(at, label): &(Duration, &'static str)| Mark {
        at: at.as_secs_f64() - zero.as_secs_f64(),
        label: (*label).to_owned(),
    };
    statements.iter().map(mark).collect()
}

/// The text with its first letter as a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first of many lines, with a word about the others.
pub(super) fn shortened(lines: &[String], most: usize) -> Vec<String> {
    let mut shown: Vec<String> = lines.iter().take(most).cloned().collect();
    if lines.len() > most {
        shown.push(format!("... and {} more", lines.len() - most));
    }
    shown
}

/// The text in lines of at most `width` characters, broken between words.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns of the terminal; 100 where there is none.
pub(super) fn terminal_width() -> usize {
    let said = std::fs::File::open("/dev/tty").and_then(|terminal| {
        Command::new("stty")
            .arg("size")
            .stdin(terminal)
            .stderr(Stdio::null())
            .output()
    });
    let said = said.map_or(Vec::new(), |output| output.stdout);
    let columns = String::from_utf8_lossy(&said);
    let columns = columns.split_whitespace().nth(1);
    let columns = columns.and_then(|columns| columns.parse().ok());
    columns.filter(|columns| *columns > 0).unwrap_or(100)
}

/// How a text chart is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Columns in all.
    pub(super) width: usize,
    /// Rows for each power of ten.
    pub(super) rows_per_decade: usize,
    /// Whether to use colour.
    pub(super) color: bool,
}

/// Columns left of a text chart's plot.
const MARGIN: usize = 9;

/// The curve as lines of text: rows of blocks, the time axis, the marks.
pub(super) fn text(curve: &Curve, axes: &Axes, style: Style) -> Vec<String> {
    let columns = style.width.saturating_sub(MARGIN + 1).max(10);
    let rows = axes.decades as usize * style.rows_per_decade;
    let edge = |column: usize| axes.from + (axes.to - axes.from) * column as f64 / columns as f64;
    let levels: Vec<Option<usize>> = (0..columns)
        .map(|column| curve.worst_between(edge(column), edge(column + 1)))
        .map(|worst| worst.map(|ms| eighths(axes.height(ms), rows)))
        .collect();
    let mut lines = vec![paint(&curve.title, "1", style.color)];
    for row in (0..rows).rev() {
        lines.push(text_row(&levels, row, axes, style));
    }
    lines.push(time_axis(axes, columns));
    lines.extend(marks(curve, axes, columns));
    lines
}

/// A height in eighths of a row, rounded up: whatever is above a line is seen above it.
fn eighths(height: f64, rows: usize) -> usize {
    ((height * (rows * 8) as f64 - 1e-9).ceil() as usize).max(1)
}

/// One row of blocks with its label, which belongs to the row's lower edge.
fn text_row(levels: &[Option<usize>], row: usize, axes: &Axes, style: Style) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let edge_ms = LOWEST_MS * 10_f64.powf(row as f64 / style.rows_per_decade as f64);
    let label = if row.is_multiple_of(style.rows_per_decade) {
        human_axis(edge_ms)
    } else {
        String::new()
    };
    let budget_row = eighths(
        axes.height(axes.budget_ms),
        axes.decades as usize * style.rows_per_decade,
    ) / 8;
    let empty = if row == budget_row { '┈' } else { ' ' };
    let cells: String = levels
        .iter()
        .map(|level| match level.unwrap_or(0).saturating_sub(row * 8) {
            0 => empty,
            filled => BLOCKS[filled.min(8)],
        })
        .collect();
    let colour = match edge_ms {
        ..99.0 => "32",
        ..999.0 => "33",
        _ => "31",
    };
    format!(
        "{label:>7} ┤{}",
        paint(cells.trim_end(), colour, style.color)
    )
}

/// The line below the blocks, with a number every five seconds.
fn time_axis(axes: &Axes, columns: usize) -> String {
    let mut line: Vec<char> = vec!['─'; columns];
    for second in ticks(axes) {
        let column = (axes.right(second) * columns as f64) as usize;
        let label = format!("{second:.0}s");
        if column + label.len() < columns {
            for (offset, character) in label.chars().enumerate() {
                line[column + offset] = character;
            }
        }
    }
    format!("{:>7} └{}", "", line.into_iter().collect::<String>())
}

/// The moments that have a number on the time axis: 5 s apart, or more on a long axis.
fn ticks(axes: &Axes) -> impl Iterator<Item = f64> {
    let step = if axes.to - axes.from > 60.0 {
        15.0
    } else {
        5.0
    };
    let (first, last) = (
        (axes.from / step).ceil() as i64,
        (axes.to / step).floor() as i64,
    );
    (first..=last).map(move |n| n as f64 * step)
}

/// The marks below the axis; one that has no room on a line begins another.
fn marks(curve: &Curve, axes: &Axes, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for mark in &curve.marks {
        let column = (axes.right(mark.at) * columns as f64) as usize;
        let free = lines
            .iter_mut()
            .find(|line| line.chars().count() <= MARGIN + column);
        let line = match free {
            Some(line) => line,
            None => {
                lines.push(String::new());
                let Some(line) = lines.last_mut() else {
                    continue;
                };
                line
            }
        };
        let padding = (MARGIN + column).saturating_sub(line.chars().count());
        let _ = write!(line, "{:padding$}▲ {} ", "", mark.label);
    }
    lines
}

/// An axis label.
fn human_axis(ms: f64) -> String {
    if ms < 999.5 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.0} s", ms / 1000.0)
    }
}

/// The text in a colour (the number of an ANSI attribute), when colour is wanted.
pub(super) fn paint(text: &str, attribute: &str, color: bool) -> String {
    if color && !text.is_empty() {
        format!("\x1b[{attribute}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Geometry of the SVG, in its own units.
const SVG_WIDTH: f64 = 900.0;
const SVG_PLOT_LEFT: f64 = 64.0;
const SVG_PLOT_WIDTH: f64 = SVG_WIDTH - SVG_PLOT_LEFT - 20.0;
const SVG_PLOT_HEIGHT: f64 = 170.0;
const SVG_PANEL_HEIGHT: f64 = SVG_PLOT_HEIGHT + 84.0;
const SVG_TITLE_HEIGHT: f64 = 56.0;
/// A fill and a line colour for each panel, from the top.
const SVG_COLOURS: [(&str, &str); 2] = [("#f4b8ae", "#c0392b"), ("#a9d8cf", "#0b7a66")];

/// The curves one above the other on the same axes, as a self-contained SVG.
pub(super) fn svg(title: &str, legend: &str, curves: &[Curve], axes: &Axes) -> String {
    let height = SVG_TITLE_HEIGHT + curves.len() as f64 * SVG_PANEL_HEIGHT + 34.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {SVG_WIDTH} {height}\" \
         width=\"{SVG_WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" \
         font-size=\"13\" fill=\"#24292f\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"34\" font-size=\"18\" font-weight=\"600\">{}</text>\n",
        escaped(title)
    );
    for (index, curve) in curves.iter().enumerate() {
        let top = SVG_TITLE_HEIGHT + index as f64 * SVG_PANEL_HEIGHT + 30.0;
        let colours = SVG_COLOURS[index % SVG_COLOURS.len()];
        svg_panel(&mut out, curve, axes, top, colours);
    }
    let _ = writeln!(
        out,
        "<text x=\"20\" y=\"{}\" font-size=\"12\" fill=\"#57606a\">{}</text>\n</svg>",
        height - 16.0,
        escaped(legend)
    );
    out
}

/// One curve with its title, grid and marks.
fn svg_panel(out: &mut String, curve: &Curve, axes: &Axes, top: f64, (fill, line): (&str, &str)) {
    let bottom = top + SVG_PLOT_HEIGHT;
    let (left, right) = (SVG_PLOT_LEFT, SVG_PLOT_LEFT + SVG_PLOT_WIDTH);
    let _ = writeln!(
        out,
        "<text x=\"20\" y=\"{}\" font-size=\"15\" font-weight=\"600\" fill=\"{line}\">{}</text>",
        top - 12.0,
        escaped(&curve.title)
    );
    for decade in 0..=axes.decades {
        let ms = LOWEST_MS * 10_f64.powf(f64::from(decade));
        let y = bottom - SVG_PLOT_HEIGHT * axes.height(ms);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#d8dee4\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#57606a\">{}</text>",
            left - 8.0,
            y + 4.5,
            human_axis(ms)
        );
    }
    for second in ticks(axes) {
        let x = left + SVG_PLOT_WIDTH * axes.right(second);
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#8c959f\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#57606a\">{second:.0} s</text>",
            bottom + 19.0
        );
    }
    svg_curve(out, curve, axes, bottom, (fill, line));
    let y = bottom - SVG_PLOT_HEIGHT * axes.height(axes.budget_ms);
    let _ = writeln!(
        out,
        "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#57606a\" stroke-dasharray=\"5 4\"/>"
    );
    svg_marks(out, curve, axes, top);
}

/// The area below the curve, and the curve.
fn svg_curve(out: &mut String, curve: &Curve, axes: &Axes, bottom: f64, colours: (&str, &str)) {
    let x = |index: usize| {
        let seconds = curve.from + index as f64 * BUCKET.as_secs_f64();
        SVG_PLOT_LEFT + SVG_PLOT_WIDTH * axes.right(seconds)
    };
    let mut path = format!("M{:.1} {bottom:.1}", x(0));
    for (index, value) in curve.values.iter().enumerate() {
        let height = value.map_or(0.0, |ms| axes.height(ms).max(0.01));
        let y = bottom - SVG_PLOT_HEIGHT * height;
        let _ = write!(path, "V{y:.1}H{:.1}", x(index + 1));
    }
    let (fill, line) = colours;
    let _ = writeln!(
        out,
        "<path d=\"{path}V{bottom:.1}Z\" fill=\"{fill}\" stroke=\"{line}\" stroke-width=\"1.2\"/>"
    );
}

/// A vertical line with its words for each mark, the words below the time axis.
fn svg_marks(out: &mut String, curve: &Curve, axes: &Axes, top: f64) {
    let bottom = top + SVG_PLOT_HEIGHT;
    let mut occupied = f64::MIN;
    for mark in &curve.marks {
        let x = SVG_PLOT_LEFT + SVG_PLOT_WIDTH * axes.right(mark.at);
        // About as wide as the words are; those that would touch the ones before go to their right.
        let words = x.max(occupied);
        occupied = words + mark.label.chars().count() as f64 * 7.6 + 20.0;
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {top}V{:.1}\" stroke=\"#24292f\" stroke-dasharray=\"2 3\"/>\
             <text x=\"{words:.1}\" y=\"{:.1}\" font-size=\"12\">▲ {}</text>",
            bottom + 4.0,
            bottom + 37.0,
            escaped(&mark.label)
        );
    }
}

/// `text` as XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn sample(start: u64, latency: u64) -> Sample {
        Sample {
            start: ms(start),
            latency: ms(latency),
        }
    }

    fn axes() -> Axes {
        Axes {
            from: 0.0,
            to: 10.0,
            decades: 4,
            budget_ms: 100.0,
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=100).map(ms).collect();
        assert_eq!(percentile(&sorted, 0.5), ms(50));
        assert_eq!(percentile(&sorted, 0.99), ms(99));
        assert_eq!(percentile(&sorted, 1.0), ms(100));
        assert_eq!(percentile(&sorted, 0.0), ms(1));
        assert_eq!(percentile(&sorted[..1], 0.99), ms(1));
        assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    }

    #[test]
    fn a_stuck_client_counts_for_the_queries_it_could_not_send() {
        let all = as_if_sent_on_time([ms(2), ms(35)], ms(10));
        assert_eq!(all, [ms(2), ms(15), ms(25), ms(35)]);
        let endless = as_if_sent_on_time([ms(5)], Duration::ZERO);
        assert_eq!(endless, [ms(5)]);
    }

    #[test]
    fn a_slow_query_colours_every_bucket_it_was_under_way_in() {
        let samples = [sample(0, 3), sample(150, 300), sample(420, 5)];
        let values = worst_per_bucket(&samples, ms(700));
        let slow = Some(300.0);
        assert_eq!(values, [Some(3.0), slow, slow, slow, slow, None, None]);
        // Beyond the end, and without any bucket.
        assert_eq!(worst_per_bucket(&[sample(50, 900)], ms(200)).len(), 2);
        assert!(worst_per_bucket(&[sample(50, 900)], ms(20)).is_empty());
    }

    #[test]
    fn the_axis_is_logarithmic_and_ends_at_a_power_of_ten() {
        let curve = |worst| Curve {
            title: String::new(),
            values: vec![Some(0.2), None, Some(worst)],
            from: -5.0,
            marks: Vec::new(),
        };
        assert_eq!(Axes::around(&[curve(4800.0)], 100.0).decades, 4);
        assert_eq!(Axes::around(&[curve(3.0)], 100.0).decades, 3);
        assert_eq!(Axes::around(&[curve(3.0)], 100.0).from, -5.0);
        let axes = axes();
        assert_eq!(axes.height(0.1), 0.0);
        assert!((axes.height(100.0) - 0.5).abs() < 1e-9);
        assert_eq!(axes.height(99_999.0), 1.0);
        assert!((axes.right(5.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_above_the_budget_is_drawn_above_its_line() {
        assert_eq!(eighths(axes().height(100.0), 8), 32);
        assert_eq!(eighths(axes().height(100.1), 8), 33);
        assert_eq!(eighths(0.0, 8), 1);
        assert_eq!(eighths(1.0, 8), 64);
    }

    #[test]
    fn the_text_chart_shows_stall_axis_and_marks() {
        let mut values = vec![Some(2.0); 100];
        values[20..60].fill(Some(4000.0));
        let curve = Curve {
            title: "direct".to_owned(),
            values,
            from: 0.0,
            marks: ["ALTER TABLE", "CREATE INDEX"]
                .iter()
                .zip([2.0, 2.5])
                .map(|(label, at)| Mark {
                    at,
                    label: (*label).to_owned(),
                })
                .collect(),
        };
        let style = Style {
            width: 60,
            rows_per_decade: 2,
            color: false,
        };
        let lines = text(&curve, &axes(), style);
        // Title, rows, axis, and two lines of marks that would overlap on one.
        assert_eq!(lines.len(), 1 + 8 + 1 + 2);
        let top: Vec<char> = lines[1].chars().collect();
        assert_eq!(
            top.iter()
                .filter(|block| "▁▂▃▄▅▆▇█".contains(**block))
                .count(),
            20
        );
        assert!(lines[4].starts_with(" 100 ms ┤┈┈┈"), "{}", lines[4]);
        assert!(lines[9].contains("5s"));
        assert!(lines[10].contains("▲ ALTER TABLE"));
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(human(ms(3)), "3.0 ms");
        assert_eq!(human(Duration::from_micros(9_960)), "10 ms");
        assert_eq!(human(ms(108)), "108 ms");
        assert_eq!(human(ms(4_830)), "4.8 s");
        assert_eq!(grouped(3_000_000), "3,000,000");
        assert_eq!(grouped(100), "100");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
    }

    #[test]
    fn the_svg_is_escaped_and_closed() {
        let curve = Curve {
            title: "a < b & c".to_owned(),
            values: vec![Some(5.0), None],
            from: 0.0,
            marks: Vec::new(),
        };
        let picture = svg("t", "l", &[curve], &axes());
        assert!(picture.contains("a &lt; b &amp; c"));
        assert!(picture.ends_with("</svg>\n"));
    }
}
