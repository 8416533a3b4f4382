//! How findings are shown: lines in columns.

use std::fmt;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is.
    what: String,
    /// Whether it is there; `None` where that is no question.
    available: Option<bool>,
    /// Whether the director uses it; `None` where that is no question.
    used: Option<bool>,
    /// What it means, or costs to lack, and what to do.
    remark: String,
}

impl Row {
    /// A facility that is there or not.
    pub(super) fn new(
        what: impl Into<String>,
        available: bool,
        used: bool,
        remark: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            available: Some(available),
            used: Some(used && available),
            remark: remark.into(),
        }
    }

    /// A fact about the host.
    pub(super) fn fact(what: impl Into<String>, remark: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            available: None,
            used: None,
            remark: remark.into(),
        }
    }

    /// A facility that is there, but of which the director makes no use.
    pub(super) fn spare(
        what: impl Into<String>,
        available: bool,
        remark: impl Into<String>,
    ) -> Self {
        Self::new(what, available, false, remark)
    }
}

/// Rows about one subject.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// What the rows are about.
    pub(super) title: &'static str,
    /// The rows, in order.
    pub(super) rows: Vec<Row>,
}

/// Sections in common columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(pub(super) Vec<Section>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().flat_map(|section| &section.rows);
        let names = rows.map(|row| row.what.chars().count() + 2);
        let titles = self.0.iter().map(|section| section.title.len());
        let width = names.chain(titles).max().unwrap_or_default();
        for section in &self.0 {
            writeln!(f)?;
            let line = format!("{:width$}  available  used", section.title);
            writeln!(f, "{line}")?;
            for row in &section.rows {
                let what = format!("  {}", row.what);
                let (available, used) = (word(row.available), word(row.used));
                let line = format!("{what:width$}  {available:9}  {used:4}  {}", row.remark);
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

const fn word(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let section = |title, rows| Section { title, rows };
        let table = Table(vec![
            section("system", vec![Row::new("a", true, true, "fine")]),
            section(
                "host",
                vec![
                    Row::fact("something longer", "means this"),
                    Row::new("b", false, true, ""),
                ],
            ),
        ]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "",
                "system              available  used",
                "  a                 yes        yes   fine",
                "",
                "host                available  used",
                "  something longer  -          -     means this",
                "  b                 no         no",
            ]
        );
    }
}
