//! `docs/schedulers/figures.toml`: which number of docs/SCHEDULERS.md comes from where.

use serde::Deserialize;

/// The whole list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// Phrases whose numbers are no findings: they are given by a scenario, by the kernel, by theory.
    pub(crate) given: Vec<String>,
    /// Plots.
    pub(crate) plot: Vec<PlotFile>,
    /// The document's sections that have numbers, in order.
    pub(crate) section: Vec<Section>,
}

/// A file of the document that has figures of the report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlotFile {
    /// In docs/schedulers.
    pub(crate) file: String,
    /// The schedulers whose plot of each figure is taken, as the plot's title calls them; none = the only one.
    pub(crate) family: Option<String>,
    /// Scenario and name of each figure in the report; the scenario is empty for figures of all of them.
    pub(crate) figures: Vec<(String, String)>,
}

/// What stands under one heading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// The heading.
    pub(crate) title: String,
    /// The numbers in their order.
    #[serde(default)]
    pub(crate) numbers: Vec<Bound>,
    /// What is said of one scheduler against another.
    #[serde(default)]
    pub(crate) claims: Vec<Claim>,
}

/// A number of the document as it stands there, and what it is: scenario, metric and scheduler.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Bound(
    pub(crate) String,
    pub(crate) String,
    pub(crate) String,
    pub(crate) String,
);

/// `wlc < rr` or `sed = nq`, of a scenario and a metric.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claim(pub(crate) String, pub(crate) String, pub(crate) String);
