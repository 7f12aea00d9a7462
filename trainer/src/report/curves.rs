//! Losses and held-out scores over the tokens, one line a run.

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics::Run;

const SIZE: (u32, u32) = (900, 760);
/// Part of the steps that a drawn loss is the mean of: single steps jitter.
const SMOOTHED_SHARE: usize = 50;

/// Points of one line: millions of tokens, and a value.
type Line = Vec<(f64, f64)>;

/// Draws the runs as an SVG.
pub(super) fn draw(runs: &[Run], file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = (|| -> Result<()> {
        area.fill(&WHITE)?;
        let (above, below) = area.split_vertically(SIZE.1 / 2);
        let named = |line: fn(&Run) -> Line| -> Vec<(&str, Line)> {
            runs.iter().map(|run| (run.name.as_str(), line(run))).collect()
        };
        chart(&above, "Loss per learned token (training)", &named(losses))?;
        chart(&below, "Held-out sequences with every turn right", &named(scores))?;
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

fn scores(run: &Run) -> Line {
    let judged = |point: &super::metrics::Point| {
        Some((millions(point.tokens), point.evaluation.as_ref()?.full))
    };
    run.points.iter().filter_map(judged).collect()
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    lines: &[(&str, Line)],
) -> Result<()> {
    let all = || lines.iter().flat_map(|(_, line)| line.iter().copied());
    let right = all().map(|(tokens, _)| tokens).fold(0.0, f64::max).max(1e-3);
    let top = all().map(|(_, value)| value).fold(0.0, f64::max).max(0.1) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("million tokens").draw()?;
    for (index, (name, line)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let series = LineSeries::new(line.iter().copied(), colour.stroke_width(2));
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
    use crate::train::Exactness;

    #[test]
    fn every_run_has_its_lines() {
        let point = |tokens| Point {
            tokens,
            tokens_budget: 2_000_000,
            loss: 2.0,
            tokens_per_second: 1.0,
            evaluation: Some(Exactness { full: 0.5, ..Exactness::default() }),
        };
        let run = |name: &str| Run {
            name: name.to_owned(),
            points: vec![point(1_000_000), point(2_000_000)],
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curves.svg");
        draw(&[run("first"), run("second"), Run { points: Vec::new(), ..run("new") }], &file)
            .unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        for name in ["first", "second", "new"] {
            assert_eq!(svg.matches(&format!("\n{name}\n")).count(), 2, "{name}");
        }
    }
}
