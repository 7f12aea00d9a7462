//! Samples of a quantity, and what is said of them.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Mebibytes,
}

impl Unit {
    /// As written in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
        }
    }
}

/// One measured quantity.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What the numbers count.
    pub unit: Unit,
    /// Half of the samples are below.
    pub median: f64,
    /// A tenth of them is below.
    pub low: f64,
    /// A tenth of them is above.
    pub high: f64,
    /// How many there were.
    pub samples: usize,
    /// What the median should not exceed.
    pub target: Option<f64>,
}

impl Figure {
    /// The figure of some samples.
    pub fn new(name: &str, unit: Unit, mut samples: Vec<f64>, target: Option<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |tenths: usize| {
            let index = samples.len().saturating_sub(1) * tenths / 10;
            samples.get(index).copied().unwrap_or(f64::NAN)
        };
        let (low, median, high) = (at(1), at(5), at(9));
        Self { name: name.to_owned(), unit, median, low, high, samples: samples.len(), target }
    }
}

/// Measures `work` in milliseconds, `count` times.
pub fn time(
    name: &str,
    count: usize,
    target: Option<f64>,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Figure> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        work()?;
        samples.push(milliseconds_since(begun));
    }
    Ok(Figure::new(name, Unit::Milliseconds, samples, target))
}

/// Milliseconds since `begun`.
pub fn milliseconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_names_the_middle_and_the_tenths() {
        let samples = (0..=10).rev().map(f64::from).collect();
        let figure = Figure::new("n", Unit::Milliseconds, samples, None);
        let numbers = [figure.low, figure.median, figure.high];
        assert!(numbers.iter().zip([1.0, 5.0, 9.0]).all(|(one, other)| (one - other).abs() < 1e-9));
        assert!(Figure::new("n", Unit::Mebibytes, Vec::new(), None).median.is_nan());
    }
}
