//! A scenario at one point of its sweep.

use super::{Arrivals, Event, Scenario, Swept};

impl Scenario {
    /// The scenario with this set to a value; `None` where it has nothing of the kind.
    #[must_use]
    pub fn with(&self, swept: Swept, value: f64) -> Option<Self> {
        let mut point = Self {
            sweep: None,
            ..self.clone()
        };
        // Values are whole and in bounds where they are counts, or the scenario was not read from a file.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float that is too large or negative becomes the nearest number"
        )]
        let count = value as u32;
        match swept {
            Swept::Load => match &mut point.arrivals {
                Arrivals::Poisson { load, rate } => (*load, *rate) = (Some(value), None),
                Arrivals::Bursty { load, .. } => *load = value,
                Arrivals::Closed { .. } | Arrivals::Trace { .. } => return None,
            },
            Swept::Removed => {
                let removed = point.events.iter_mut().find_map(|event| match event {
                    Event::Remove { count, .. } => Some(count),
                    _ => None,
                })?;
                *removed = count;
            }
            Swept::Directors => point.directors.count = count,
        }
        Some(point)
    }

    /// The scenario at each point of its sweep, with the value there; itself where it has none.
    #[must_use]
    pub fn points(&self) -> Vec<(Option<f64>, Self)> {
        let Some(sweep) = &self.sweep else {
            return vec![(None, self.clone())];
        };
        let values = sweep.values.iter();
        let points = values.filter_map(|value| Some((Some(*value), self.with(sweep.of, *value)?)));
        points.collect()
    }
}

impl Swept {
    /// As a file says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Removed => "removed",
            Self::Directors => "directors",
        }
    }
}
