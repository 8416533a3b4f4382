//! A figure: the same plot for each family of schedulers, on the same axes, all others in grey behind.

use std::fmt::Write as _;

use super::axis::Axis;
use super::escaped;
use super::families::families;
use super::plot::{Behind, Line, Mark, Plot};

/// A figure.
#[derive(Debug)]
pub(super) struct Figure<'a> {
    /// Name in the page.
    pub(super) id: String,
    pub(super) title: String,
    /// What it shows and how to read it.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// One for each scheduler.
    pub(super) lines: Vec<Line<'a>>,
    /// Drawn in every plot.
    pub(super) reference: Option<Line<'a>>,
    pub(super) marks: Vec<Mark>,
}

impl Figure<'_> {
    /// As HTML; nothing when there is no line.
    pub(super) fn html(&self) -> String {
        let names: Vec<&str> = self.lines.iter().map(|line| line.name).collect();
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let families = families(&names);
        let behind = format!("{}-all", self.id);
        let mut plots: Vec<Plot<'_>> = Vec::new();
        for (number, family) in families.iter().enumerate() {
            let title = if family.title.is_empty() {
                self.title.clone()
            } else {
                format!("{}: {}", self.title, family.title)
            };
            let lines = family.members.iter().filter_map(|at| self.lines.get(*at));
            plots.push(Plot {
                title,
                x: &self.x,
                y: &self.y,
                lines: lines.collect(),
                behind: match (families.len(), number) {
                    (1, _) => None,
                    (_, 0) => Some(Behind::Drawn(&behind, &self.lines)),
                    _ => Some(Behind::Again(&behind)),
                },
                reference: self.reference.as_ref(),
                marks: &self.marks,
                rows: 0,
            });
        }
        let rows = plots.iter().map(Plot::rows_needed).max().unwrap_or(0);
        let mut html = format!(
            "<figure id='{}'><figcaption><b>{}.</b> {}</figcaption><div class='plots'>\n",
            escaped(&self.id),
            escaped(&self.title),
            escaped(&self.note)
        );
        for mut plot in plots {
            plot.rows = rows;
            let _ = write!(html, "{}", plot.svg());
        }
        html + "</div></figure>\n"
    }
}
