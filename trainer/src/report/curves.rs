//! Losses, in training and on held-out sequences, and held-out scores over the tokens, one line a
//! run.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics::Run;
use crate::train::Exactness;

const SIZE: (u32, u32) = (900, 1100);
/// Losses below are drawn as this: nothing is left to learn.
const LOSS_MIN: f64 = 1e-6;
/// Part of the steps that a drawn loss is the mean of: single steps jitter.
const SMOOTHED_SHARE: usize = 50;

/// Points of one line: millions of tokens, and a value.
type Line = Vec<(f64, f64)>;

/// Draws the runs as an SVG.
pub(super) fn draw(runs: &[Run], file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = (|| -> Result<()> {
        area.fill(&WHITE)?;
        let named = |line: fn(&Run) -> Line| -> Vec<(&str, Line)> {
            runs.iter().map(|run| (run.name.as_str(), line(run))).collect()
        };
        let charts = [
            ("Loss per learned token (training)", named(losses), Scale::Log),
            ("Loss per learned token (held out)", named(held_out_losses), Scale::Log),
            ("Held-out sequences with every turn right", named(scores), Scale::Linear),
        ];
        for (part, (title, lines, scale)) in area.split_evenly((3, 1)).iter().zip(&charts) {
            chart(part, title, lines, *scale)?;
        }
        area.present()?;
        Ok(())
    })();
    drawn.with_context(|| format!("{} cannot be drawn", file.display()))
}

fn millions(tokens: u64) -> f64 {
    tokens as f64 / 1e6
}

fn losses(run: &Run) -> Line {
    let size = (run.points.len() / SMOOTHED_SHARE).max(1);
    let mean = |points: &[super::metrics::Point]| {
        let sum: f64 = points.iter().map(|point| point.loss).sum();
        let last = points.last().map_or(0, |point| point.tokens);
        (millions(last), sum / points.len() as f64)
    };
    run.points.chunks(size).map(mean).collect()
}

fn held_out_losses(run: &Run) -> Line {
    judged(run, |exactness| exactness.loss)
}

fn scores(run: &Run) -> Line {
    judged(run, |exactness| exactness.full)
}

fn judged(run: &Run, value: impl Fn(&Exactness) -> f64) -> Line {
    let point = |point: &super::metrics::Point| {
        Some((millions(point.tokens), value(point.evaluation.as_ref()?)))
    };
    run.points.iter().filter_map(point).collect()
}

/// How values stand on the vertical axis.
#[derive(Clone, Copy)]
enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten.
    Log,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(LOSS_MIN).log10(),
        }
    }

    /// What the axis shows of these places.
    fn range(self, places: impl Iterator<Item = f64> + Clone) -> Range<f64> {
        match self {
            Self::Linear => 0.0..places.fold(0.0, f64::max).max(0.1) * 1.05,
            Self::Log => {
                let bottom = places.clone().fold(0.0, f64::min).floor();
                bottom..places.fold(bottom + 1.0, f64::max).ceil()
            }
        }
    }

    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => format!("{place:.1}"),
            Self::Log => format!("{:.1e}", 10f64.powf(place)),
        }
    }
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    lines: &[(&str, Line)],
    scale: Scale,
) -> Result<()> {
    let place = |(tokens, value): &(f64, f64)| (*tokens, scale.place(*value));
    let all = lines.iter().flat_map(|(_, line)| line.iter().map(place));
    let right = all.clone().map(|(tokens, _)| tokens).fold(0.0, f64::max).max(1e-3);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right, scale.range(all.map(|(_, place)| place)))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("million tokens")
        .y_labels(5)
        .y_label_formatter(&|place| scale.label(*place))
        .draw()?;
    for (index, (name, line)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let series = LineSeries::new(line.iter().map(place), colour.stroke_width(2));
        chart
            .draw_series(series)?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .position(SeriesLabelPosition::UpperRight)
        .draw()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::metrics::Point;
    use super::*;

    #[test]
    fn every_run_has_its_lines() {
        let point = |tokens| Point {
            tokens,
            tokens_budget: 2_000_000,
            loss: 2.0,
            tokens_per_second: 1.0,
            evaluation: Some(Exactness { full: 0.5, loss: 0.004, ..Exactness::default() }),
        };
        let run = |name: &str| Run {
            name: name.to_owned(),
            points: vec![point(1_000_000), point(2_000_000)],
            ..Run::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curves.svg");
        draw(&[run("first"), run("second"), Run { points: Vec::new(), ..run("new") }], &file)
            .unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        for name in ["first", "second", "new"] {
            assert_eq!(svg.matches(&format!("\n{name}\n")).count(), 3, "{name}");
        }
    }

    #[test]
    fn losses_stand_by_powers_of_ten() {
        let places = [2.0, 0.004].map(|loss| Scale::Log.place(loss));
        assert_eq!(Scale::Log.range(places.into_iter()), -3.0..1.0);
        assert_eq!(Scale::Log.label(-3.0), "1.0e-3");
        assert_eq!(Scale::Log.place(0.0), -6.0);
        assert_eq!(Scale::Linear.range([].into_iter()), 0.0..0.1 * 1.05);
    }
}
