//! Results as CSV (RFC 4180): a row for each scenario, point of a sweep, scheduler and metric.

use std::fmt::Write as _;

use crate::results::Results;

/// The first row.
pub const HEAD: &str =
    "scenario,axis,point,scheduler,metric,unit,mean,half,least,most,repeats,seed";

/// The rows, ended by CR LF as RFC 4180 has it.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut text = format!("{HEAD}\r\n");
    for scenario in &results.scenarios {
        let (axis, value) = match &scenario.point {
            Some(point) => (quoted(&point.axis), point.value.to_string()),
            None => (String::new(), String::new()),
        };
        for scheduler in &scenario.schedulers {
            for (metric, estimate) in &scheduler.metrics {
                let unit = crate::results::find(metric).map_or("", |metric| metric.unit);
                let _ = write!(
                    text,
                    "{},{axis},{value},{},{},{unit},{},{},{},{},{},{}\r\n",
                    quoted(&scenario.name),
                    quoted(&scheduler.name),
                    quoted(metric),
                    estimate.mean,
                    estimate
                        .half
                        .map_or_else(String::new, |half| half.to_string()),
                    estimate.least,
                    estimate.most,
                    results.repeats,
                    results.seed,
                );
            }
        }
    }
    text
}

/// A field, in quotation marks where it must be.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;
    use crate::results::Estimate;

    #[test]
    fn no_interval_is_an_empty_field() {
        let text = text(&made_up::once(1));
        let row = "\r\nsteady,,,rr,connections,connections,100000,,95000,105000,1,1\r\n";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn every_metric_is_a_row() {
        let mut results = made_up::results(3);
        if let Some(scheduler) = results.scenarios[0].schedulers.first_mut() {
            scheduler.name = "sh -b sh-fallback,sh-port".to_owned();
        }
        let text = text(&results);
        let metrics = |one: &crate::results::ScenarioResults| -> usize {
            one.schedulers.iter().map(|one| one.metrics.len()).sum()
        };
        let rows: usize = results.scenarios.iter().map(metrics).sum();
        assert_eq!(text.lines().count(), 1 + rows);
        let fields = HEAD.split(',').count();
        for line in text.lines().filter(|line| !line.contains('"')) {
            assert_eq!(line.split(',').count(), fields, "{line}");
        }
        let Estimate {
            mean,
            half: Some(half),
            least,
            most,
        } = results.scenarios[0].schedulers[1].metrics["sojourn_p99"]
        else {
            panic!("it has an interval");
        };
        let row = format!("\r\nsteady,,,wrr,sojourn_p99,s,{mean},{half},{least},{most},30,1\r\n");
        assert!(text.contains(&row), "{row}{text}");
        let point = "\r\nload-sweep,load,0.9,wrr,sojourn_p99,s,";
        assert!(text.contains(point), "{text}");
        let name = "steady,,,\"sh -b sh-fallback,sh-port\",sojourn_p99,s,";
        assert!(text.contains(name), "{text}");
    }
}
