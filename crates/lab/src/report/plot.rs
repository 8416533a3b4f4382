//! One plot of lines as SVG: title, legend, axes, lines that differ in colour, dashes and markers.

use std::fmt::Write as _;

use super::axis::Axis;
use super::escaped;
use crate::statistics::count;

/// Width of a plot, in units of its own; a screen's pixels on a phone.
const WIDTH: f64 = 380.0;
/// Room left of the plotted area, and right of it.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
/// Height of the plotted area.
const AREA: f64 = 190.0;
/// Height of a row of the legend.
const ROW: f64 = 17.0;
/// Sizes of texts.
const TITLE: f64 = 13.0;
const TEXT: f64 = 11.0;
/// Width of a character, in sizes of its text: no usual font is wider on average.
pub(super) const CHARACTER: f64 = 0.6;
/// Length of a line in the legend.
const SAMPLE: f64 = 26.0;

/// Colours that colour-blind people tell apart (Okabe and Ito, "Color Universal Design", 2008), and dashes for print.
const STYLES: [(&str, &str); super::families::LINES] = [
    ("#0072b2", ""),
    ("#d55e00", "7 3"),
    ("#009e73", "2 2.5"),
    ("#000000", "9 3 2 3"),
    ("#cc79a7", "12 3"),
    ("#b8860b", "4 2"),
];

/// How lines behind the others look; not by a class, which would not reach what `use` shows.
const OTHERS: &str = "fill='none' stroke='#c9ced6'";

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
    /// Half of each point's interval; may be shorter than the points.
    pub(super) halves: Vec<f64>,
}

/// Something at a place of the x axis.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
}

/// A plot.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: String,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    pub(super) lines: Vec<&'a Line<'a>>,
    /// Lines in grey behind the others: of the page's first plot that has them, by this name.
    pub(super) behind: Option<Behind<'a>>,
    /// A line in black.
    pub(super) reference: Option<&'a Line<'a>>,
    pub(super) marks: &'a [Mark],
    /// Rows of the legend: `rows_needed`.
    pub(super) rows: usize,
}

/// Lines in grey.
#[derive(Debug)]
pub(super) enum Behind<'a> {
    /// Drawn here, and named for the next.
    Drawn(&'a str, &'a [Line<'a>]),
    /// Drawn before under this name.
    Again(&'a str),
}

/// Room that a text takes.
pub(super) fn width(text: &str, size: f64) -> f64 {
    CHARACTER * size * count(text.chars().count())
}

/// The size of a text that has to fit in this room.
fn fitting(text: &str, size: f64, room: f64) -> f64 {
    let wide = width(text, size);
    if wide > room {
        // Rounded down, so that what is printed fits too.
        (size * room / wide * 10.0).floor() / 10.0
    } else {
        size
    }
}

/// An entry of the legend: what is drawn, and its text.
enum Key<'a> {
    Style(usize, &'a str),
    Others,
    Reference(&'a str),
    Event,
}

impl Key<'_> {
    const fn text(&self) -> &str {
        match self {
            Self::Style(_, name) | Self::Reference(name) => name,
            Self::Others => "the others",
            Self::Event => "event",
        }
    }
}

/// A text.
pub(super) fn text(at: (f64, f64), size: f64, anchor: &str, class: &str, text: &str) -> String {
    let (x, y) = at;
    format!(
        "<text x='{x:.1}' y='{y:.1}' font-size='{size}' text-anchor='{anchor}' class='{class}'>{}</text>",
        escaped(text)
    )
}

impl Plot<'_> {
    fn keys(&self) -> Vec<Key<'_>> {
        let named = self.lines.iter().enumerate();
        let mut keys: Vec<Key<'_>> = named
            .map(|(style, line)| Key::Style(style, line.name))
            .collect();
        if let Some(reference) = self.reference {
            keys.push(Key::Reference(reference.name));
        }
        if self.behind.is_some() {
            keys.push(Key::Others);
        }
        if !self.marks.is_empty() {
            keys.push(Key::Event);
        }
        keys
    }

    /// Where the legend's entries are: row and x.
    fn places(&self) -> Vec<(usize, f64)> {
        let (mut row, mut x) = (0, 8.0);
        let mut places = Vec::new();
        for key in self.keys() {
            let wide = SAMPLE + 6.0 + width(key.text(), TEXT);
            if x > 8.0 && x + wide > WIDTH - 4.0 {
                row += 1;
                x = 8.0;
            }
            places.push((row, x));
            x += wide + 14.0;
        }
        places
    }

    /// Rows that the legend takes.
    pub(super) fn rows_needed(&self) -> usize {
        self.places().last().map_or(0, |(row, _)| row + 1)
    }

    /// Upper edge of the plotted area.
    fn top(&self) -> f64 {
        let strip = if self.marks.is_empty() { 8.0 } else { 22.0 };
        44.0 + ROW * count(self.rows) + strip
    }

    fn spot(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let x = LEFT + (WIDTH - LEFT - RIGHT) * self.x.place(x)?;
        let y = self.top() + AREA * (1.0 - self.y.place(y)?);
        Some((x, y))
    }

    /// The plot as an SVG element.
    pub(super) fn svg(&self) -> String {
        let (top, bottom) = (self.top(), self.top() + AREA);
        let mut svg = format!(
            "<svg class='plot' viewBox='0 0 {WIDTH} {:.1}' role='img' aria-label='{}'>\n",
            bottom + 38.0,
            escaped(&self.title)
        );
        let size = |text: &str, size: f64, left: f64| fitting(text, size, WIDTH - left - 4.0);
        let title = size(&self.title, TITLE, 8.0);
        svg += &text((8.0, 17.0), title, "start", "title", &self.title);
        for (key, (row, x)) in self.keys().iter().zip(self.places()) {
            let y = 36.0 + ROW * count(row);
            svg += &sample(key, x, y - 4.0);
            let x = x + SAMPLE + 6.0;
            let fits = size(key.text(), TEXT, x);
            svg += &text((x, y), fits, "start", "key", key.text());
        }
        let title = 40.0 + ROW * count(self.rows);
        let fits = size(&self.y.title, TEXT, 8.0);
        svg += &text((8.0, title), fits, "start", "y", &self.y.title);
        self.axes(&mut svg, top, bottom);
        self.marked(&mut svg, top, bottom);
        match &self.behind {
            Some(Behind::Drawn(id, lines)) => {
                let _ = write!(svg, "<g id='{id}' {OTHERS}>");
                for line in *lines {
                    let _ = write!(svg, "<path d='{}'/>", self.path(line));
                }
                svg.push_str("</g>\n");
            }
            Some(Behind::Again(id)) => {
                let _ = writeln!(svg, "<use href='#{id}'/>");
            }
            None => {}
        }
        if let Some(line) = self.reference {
            let _ = writeln!(svg, "<path class='least' d='{}'/>", self.path(line));
        }
        for (style, line) in self.lines.iter().enumerate() {
            self.line(&mut svg, style, line);
        }
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String, top: f64, bottom: f64) {
        let right = WIDTH - RIGHT;
        let mut free = 0.0;
        for (value, label) in self.x.ticks() {
            let Some(place) = self.x.place(value) else {
                continue;
            };
            let x = LEFT + (right - LEFT) * place;
            let _ = write!(svg, "<path class='grid' d='M{x:.1} {top:.1}V{bottom:.1}'/>");
            let half = width(&label, TEXT) / 2.0;
            // Neither over its neighbour nor over the edge.
            if x - half > free && x + half <= WIDTH {
                *svg += &text((x, bottom + 15.0), TEXT, "middle", "tick", &label);
                free = x + half + 4.0;
            }
        }
        let mut free = f64::MAX;
        for (value, label) in self.y.ticks() {
            let Some(place) = self.y.place(value) else {
                continue;
            };
            let y = top + AREA * (1.0 - place);
            let _ = write!(svg, "<path class='grid' d='M{LEFT} {y:.1}H{right}'/>");
            if y < free {
                *svg += &text((LEFT - 5.0, y + 4.0), TEXT, "end", "tick", &label);
                free = y - TEXT - 3.0;
            }
        }
        let middle = f64::midpoint(LEFT, right);
        *svg += &text((middle, bottom + 32.0), TEXT, "middle", "x", &self.x.title);
        let _ = writeln!(
            svg,
            "<path class='frame' d='M{LEFT} {top:.1}V{bottom:.1}H{right}'/>"
        );
    }

    /// Lines at the marks, and their numbers above the area; those that are close have one number together.
    fn marked(&self, svg: &mut String, top: f64, bottom: f64) {
        // First and last number, and left edge.
        let mut labels: Vec<(usize, usize, f64)> = Vec::new();
        let told = |&(first, last, _): &(usize, usize, f64)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}–{last}")
            }
        };
        for (number, mark) in (1..).zip(self.marks) {
            let Some(place) = self.x.place(mark.at) else {
                continue;
            };
            let x = LEFT + (WIDTH - LEFT - RIGHT) * place;
            let _ = write!(
                svg,
                "<path class='event' d='M{x:.1} {:.1}V{bottom:.1}'/>",
                top - 4.0
            );
            labels.push((number, number, x - 3.0));
            // The last moves left from the edge, and joins whatever it meets there.
            while let [.., before, last] = labels.as_mut_slice() {
                let moved = last.2.min(WIDTH - width(&told(last), TEXT));
                if moved > before.2 + width(&told(before), TEXT) + 4.0 {
                    break;
                }
                before.1 = last.1;
                labels.pop();
            }
        }
        for label in &labels {
            let x = label.2.min(WIDTH - width(&told(label), TEXT));
            *svg += &text((x, top - 7.0), TEXT, "start", "mark", &told(label));
        }
    }

    fn path(&self, line: &Line<'_>) -> String {
        let mut path = String::new();
        let mut pen = 'M';
        let mut before = None;
        for point in &line.points {
            let Some((x, y)) = self.spot(*point) else {
                // What is beyond the axes is a gap.
                pen = 'M';
                continue;
            };
            let spot = (format!("{x:.1}"), format!("{y:.1}"));
            if before.as_ref() != Some(&spot) {
                let _ = write!(path, "{pen}{} {}", spot.0, spot.1);
                pen = 'L';
            }
            before = Some(spot);
        }
        path
    }

    fn line(&self, svg: &mut String, style: usize, line: &Line<'_>) {
        let (colour, dashes) = STYLES[style % STYLES.len()];
        let _ = write!(
            svg,
            "<g stroke='{colour}' fill='{colour}'><title>{}</title><path class='line' stroke-dasharray='{dashes}' d='{}'/>",
            escaped(line.name),
            self.path(line)
        );
        for ((x, y), half) in line.points.iter().zip(&line.halves) {
            let ends = [self.spot((*x, y + half)), self.spot((*x, y - half))];
            if let [Some((x, high)), Some((_, low))] = ends {
                let _ = write!(svg, "<path d='M{x:.1} {high:.1}V{low:.1}'/>");
            }
        }
        // A few markers, each line's at places of its own, so that lines on top of each other show.
        let count = line.points.len();
        let every = if count <= 12 { 1 } else { count.div_ceil(6) };
        let first = if every == 1 {
            0
        } else {
            every * (1 + style) / (STYLES.len() + 1)
        };
        let spots = line.points.iter().skip(first).step_by(every);
        for spot in spots.filter_map(|point| self.spot(*point)) {
            svg.push_str(&marker(style, spot));
        }
        svg.push_str("</g>\n");
    }
}

/// A small form at a place.
fn marker(style: usize, (x, y): (f64, f64)) -> String {
    let path = match style % STYLES.len() {
        0 => return format!("<circle cx='{x:.1}' cy='{y:.1}' r='3'/>"),
        1 => "m-3-3h6v6h-6z",
        2 => "m0-4l4 7h-8z",
        3 => "m0-4l4 4-4 4-4-4z",
        4 => "m0 4l4-7h-8z",
        _ => "m-3-3l6 6m-6 0l6-6",
    };
    format!("<path d='M{x:.1} {y:.1}{path}'/>")
}

/// What the legend shows beside a name.
fn sample(key: &Key<'_>, x: f64, y: f64) -> String {
    let stroke = format!("M{x:.1} {y:.1}h{SAMPLE}");
    match key {
        Key::Style(style, _) => {
            let (colour, dashes) = STYLES[style % STYLES.len()];
            format!(
                "<g stroke='{colour}' fill='{colour}'><path class='line' stroke-dasharray='{dashes}' d='{stroke}'/>{}</g>",
                marker(*style, (x + SAMPLE / 2.0, y))
            )
        }
        Key::Others => format!("<path {OTHERS} d='{stroke}'/>"),
        Key::Reference(_) => format!("<path class='least' d='{stroke}'/>"),
        Key::Event => format!(
            "<path class='event' d='M{:.1} {:.1}v12'/>",
            x + 13.0,
            y - 6.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::*;

    #[test]
    fn an_interval_is_drawn_to_both_sides() {
        let axis = |most| Axis::new("it", "", Scale::Linear, [0.0, most].into_iter());
        let (x, y) = (axis(2.0), axis(10.0));
        let line = Line {
            name: "rr",
            points: vec![(1.0, 5.0)],
            halves: vec![2.0],
        };
        let plot = Plot {
            title: "It".to_owned(),
            x: &x,
            y: &y,
            lines: vec![&line],
            behind: None,
            reference: None,
            marks: &[],
            rows: 1,
        };
        let (middle, high) = plot.spot((1.0, 7.0)).expect("it is on the axes");
        let (_, low) = plot.spot((1.0, 3.0)).expect("it is on the axes");
        let bar = format!("<path d='M{middle:.1} {high:.1}V{low:.1}'/>");
        assert!(plot.svg().contains(&bar), "{bar}: {}", plot.svg());
    }
}
