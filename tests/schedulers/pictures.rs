//! Figures of the report as files of their own.

use std::fmt::Write as _;

use crate::figures::PlotFile;

/// Plots beside each other.
const COLUMNS: usize = 2;

/// Figures of the report page as an SVG file: plots beside and below each other, with the page's styles.
pub(crate) fn svg(page: &str, plot: &PlotFile) -> Result<String, String> {
    let sources = plot.figures.iter();
    let sources = sources.map(|(scenario, figure)| source(page, plot, scenario, figure));
    let sources = sources.collect::<Result<Vec<String>, String>>()?;
    let drawn = sources.iter().map(|source| Drawn::of(source));
    let plots = drawn.collect::<Option<Vec<Drawn<'_>>>>();
    let plots = plots.ok_or_else(|| format!("{}: a plot has no size", plot.file))?;
    Ok(together(&styles(page), &plots))
}

/// A plot of the page, that it can be drawn without the others.
fn source(page: &str, plot: &PlotFile, scenario: &str, figure: &str) -> Result<String, String> {
    let id = match scenario {
        "" => figure.to_owned(),
        name => format!("{}-{figure}", section(page, name)?),
    };
    let absent = || {
        format!(
            "{}: the report has no figure {figure} of {scenario}",
            plot.file
        )
    };
    let inside = page.split(&format!("<figure id='{id}'>")).nth(1);
    let inside = inside.and_then(|rest| rest.split("</figure>").next());
    let inside = inside.ok_or_else(absent)?;
    let end = plot
        .family
        .as_ref()
        .map(|family| format!(": {}' ", family.replace('\'', "&#39;")));
    let is_wanted = |svg: &&str| {
        end.as_ref()
            .is_none_or(|end| format!("{} ", label(svg)).contains(end))
    };
    let svg = inside
        .split("<svg ")
        .skip(1)
        .find(is_wanted)
        .ok_or_else(absent)?;
    // The lines behind the others stand in the figure's first plot.
    let behind = inside.split(&format!("<g id='{id}-all'")).nth(1);
    let behind = behind
        .and_then(|rest| rest.split_once("</g>"))
        .map_or("", |(lines, _)| lines);
    let drawn = svg.replace(
        &format!("<use href='#{id}-all'/>"),
        &format!("<g{behind}</g>"),
    );
    Ok(drawn.replace(&format!("<g id='{id}-all'"), "<g"))
}

/// What a plot says that it is.
fn label(svg: &str) -> &str {
    let tag = svg.split('>').next().unwrap_or_default();
    tag.split_once(" aria-label=")
        .map_or("", |(_, label)| label)
}

/// A plot: its size, and what is in it.
struct Drawn<'a> {
    size: (f64, f64),
    inside: &'a str,
}

impl<'a> Drawn<'a> {
    fn of(source: &'a str) -> Option<Self> {
        let (tag, rest) = source.split_once('>')?;
        let (inside, _) = rest.split_once("</svg>")?;
        let (_, sizes) = tag.split_once("viewBox='0 0 ")?;
        let (width, height) = sizes.split_once('\'')?.0.split_once(' ')?;
        Some(Self {
            size: (width.parse().ok()?, height.parse().ok()?),
            inside,
        })
    }
}

/// The name of a scenario's section in the page.
fn section<'a>(page: &'a str, scenario: &str) -> Result<&'a str, String> {
    let (before, _) = page
        .split_once(&format!("'>{scenario}</h2>"))
        .ok_or_else(|| format!("the report has no scenario {scenario}"))?;
    Ok(before.rsplit('\'').next().unwrap_or_default())
}

/// The page's styles of what plots consist of.
fn styles(page: &str) -> String {
    let rules = page
        .lines()
        .filter(|line| line.starts_with("svg .") || line.starts_with("svg text{"));
    rules.collect::<Vec<_>>().join("\n")
}

fn together(styles: &str, plots: &[Drawn<'_>]) -> String {
    let widest = |all: &[Drawn<'_>]| all.iter().map(|one| one.size.0).fold(0.0, f64::max);
    let tallest = |all: &[Drawn<'_>]| all.iter().map(|one| one.size.1).fold(0.0, f64::max);
    let cell = widest(plots);
    let rows: Vec<&[Drawn<'_>]> = plots.chunks(COLUMNS).collect();
    let width = if plots.len() > 1 { cell * 2.0 } else { cell };
    let height = rows.iter().map(|row| tallest(row)).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>\n\
         <style>{styles}</style>\n<rect width='{width}' height='{height}' fill='#fff'/>\n"
    );
    let mut y = 0.0;
    for row in rows {
        let mut x = 0.0;
        for plot in row {
            let ((wide, high), inside) = (plot.size, plot.inside);
            let _ = writeln!(
                svg,
                "<svg x='{x}' y='{y}' width='{wide}' height='{high}' viewBox='0 0 {wide} {high}'>{inside}</svg>"
            );
            x += cell;
        }
        y += tallest(row);
    }
    svg + "</svg>\n"
}
