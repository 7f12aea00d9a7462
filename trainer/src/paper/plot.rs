//! Scores over the sizes, one line a student.

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::prelude::*;

use super::rows::{Row, Student};
use super::table::{ARITHMETIC, UNSEEN, score, sizes};
use crate::world::Family;

const SIZE: (u32, u32) = (900, 420);
/// Families on the left, and on the right.
const PANELS: [(&str, &[Family]); 2] = [("Facts", UNSEEN), ("Arithmetic", ARITHMETIC)];

/// Draws the rows as an SVG; nothing without rows.
pub(super) fn draw(rows: &[Row], file: &Path) -> Result<()> {
    let sizes = sizes(rows);
    let (Some(smallest), Some(largest)) = (sizes.first(), sizes.last()) else { return Ok(()) };
    // A single size needs room on both sides.
    let range = (*smallest as f64 * 0.8)..(*largest as f64 * 1.25);
    let drawn = (|| -> Result<()> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, (title, families)) in area.split_evenly((1, 2)).iter().zip(PANELS) {
            let mut chart = ChartBuilder::on(panel)
                .caption(format!("{title}, % right"), ("sans-serif", 16))
                .margin(10)
                .x_label_area_size(32)
                .y_label_area_size(36)
                .build_cartesian_2d(range.clone().log_scale(), 0.0..100.0)?;
            let label = |parameters: &f64| format!("{:.2} M", parameters / 1e6);
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .x_desc("parameters")
                .x_label_formatter(&label)
                .draw()?;
            for (index, student) in Student::ALL.into_iter().enumerate() {
                let colour = Palette99::pick(index).to_rgba();
                let points: Vec<(f64, f64, f64)> = sizes
                    .iter()
                    .filter_map(|size| {
                        let estimate = score(rows, student, *size, families)?;
                        Some((*size as f64, estimate.mean, estimate.half.unwrap_or(0.0)))
                    })
                    .collect();
                let line = points.iter().map(|(size, mean, _)| (*size, *mean));
                chart
                    .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                    .label(student.name())
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                    });
                let bar = |(size, mean, half): &(f64, f64, f64)| {
                    let (low, high) = ((mean - half).max(0.0), (mean + half).min(100.0));
                    PathElement::new([(*size, low), (*size, high)], colour.stroke_width(1))
                };
                chart.draw_series(points.iter().map(bar))?;
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(RGBColor(200, 200, 200))
                .position(SeriesLabelPosition::UpperLeft)
                .draw()?;
        }
        area.present()?;
        Ok(())
    })();
    drawn.with_context(|| format!("{} cannot be drawn", file.display()))
}
