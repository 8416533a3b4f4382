//! The numbers of a Markdown text: where each stands, under which heading, and with which unit.
//!
//! Code, headings, the targets of links and the numbers that begin a paragraph's title (`**3. `) are not looked at.

/// Units that belong to the number before them.
const UNITS: [&str; 5] = ["ms", "µs", "s", "%", "times"];

/// A number as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// With its unit, and one space between.
    pub(crate) text: String,
    /// The last heading before it.
    pub(crate) section: String,
    /// From 1.
    pub(crate) line: usize,
    /// First octet, and the one behind the last.
    pub(crate) place: (usize, usize),
}

/// All numbers, in order.
pub(crate) fn numbers(text: &str) -> Vec<Number> {
    let mut numbers = Vec::new();
    let (mut section, mut at, mut is_code) = (String::new(), 0, false);
    let prose = prose(text);
    for (line, (whole, shown)) in (1..).zip(text.split_inclusive('\n').zip(lines(&prose, text))) {
        if whole.starts_with("```") {
            is_code = !is_code;
        } else if let Some(title) = whole.strip_prefix('#').filter(|_| !is_code) {
            title
                .trim_start_matches('#')
                .trim()
                .clone_into(&mut section);
        } else if !is_code {
            for (from, long) in of_line(shown) {
                let (from, until) = (at + from, at + from + long);
                let until = until + unit(prose.get(until..).unwrap_or_default());
                let words = text.get(from..until).unwrap_or_default().split_whitespace();
                numbers.push(Number {
                    text: words.collect::<Vec<_>>().join(" "),
                    section: section.clone(),
                    line,
                    place: (from, until),
                });
            }
        }
        at += whole.len();
    }
    numbers
}

/// The text with spaces for what is code or the target of a link; each octet stays where it is.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let (mut is_code, mut is_target, mut before) = (false, false, ' ');
    for c in text.chars() {
        match c {
            '`' => is_code = !is_code,
            '(' if before == ']' => is_target = true,
            ')' => is_target = false,
            _ => {}
        }
        if (is_code || is_target || c == '`') && c != '\n' {
            (0..c.len_utf8()).for_each(|_| prose.push(' '));
        } else {
            prose.push(c);
        }
        before = c;
    }
    prose
}

/// The lines of `prose`, which has as many octets in each as `text`.
fn lines<'a>(prose: &'a str, text: &'a str) -> impl Iterator<Item = &'a str> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        at += line.len();
        prose.get(at - line.len()..at).unwrap_or_default()
    })
}

/// First octet and length of each number of a line, units left out.
fn of_line(line: &str) -> Vec<(usize, usize)> {
    let title = line
        .strip_prefix("**")
        .and_then(|rest| rest.split_once(". "));
    let is_title = |number: &str| number.chars().all(|c| c.is_ascii_digit());
    let mut at = title.map_or(0, |(number, _)| {
        if is_title(number) {
            number.len() + 4
        } else {
            0
        }
    });
    let mut found = Vec::new();
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let before = line.get(..at).and_then(|before| before.chars().last());
        let is_inside = before.is_some_and(|c| c.is_alphanumeric() || "_/.,".contains(c));
        let long = length(rest);
        if long > 0 && !is_inside {
            found.push((at, long));
        }
        at += long.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    found
}

/// Octets of the number that a text begins with: digits, and between them commas and points.
fn length(text: &str) -> usize {
    let octets = text.as_bytes();
    let is_digit = |at: usize| octets.get(at).is_some_and(u8::is_ascii_digit);
    let mut long = 0;
    while is_digit(long)
        || long > 0 && matches!(octets.get(long), Some(b'.' | b',')) && is_digit(long + 1)
    {
        long += 1;
    }
    long
}

/// Octets of the unit behind a number, with the space or line feed before it.
fn unit(rest: &str) -> usize {
    let Some(word) = rest.strip_prefix([' ', '\n']) else {
        return 0;
    };
    let ends = |tail: &str| !tail.chars().next().is_some_and(char::is_alphanumeric);
    let known = UNITS
        .iter()
        .filter(|unit| word.strip_prefix(**unit).is_some_and(ends));
    known.map(|unit| unit.len() + 1).max().unwrap_or(0)
}

/// Where a phrase stands, line feeds being spaces.
pub(crate) fn places(text: &str, phrase: &str) -> Vec<(usize, usize)> {
    let text = text.replace('\n', " ");
    let found = text.match_indices(phrase);
    found.map(|(at, _)| (at, at + phrase.len())).collect()
}
