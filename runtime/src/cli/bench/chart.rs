//! The figures as bars on a logarithmic scale.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::figure::{Figure, Unit};

const WIDTH: u32 = 900;
const ROW_HEIGHT: u32 = 26;
/// Left of the bars: the names.
const NAMES_WIDTH: i32 = 360;
const BARS_WIDTH: f64 = 420.0;
/// The scale's ends, in milliseconds: three decimals below what is worth a glance.
const SCALE: (f64, f64) = (0.01, 1000.0);
const OWN: RGBColor = RGBColor(45, 95, 160);
const TARGET: RGBColor = RGBColor(200, 70, 40);

/// Draws the medians of all times as an SVG.
pub fn draw(figures: &[Figure], file: &Path) -> Result<()> {
    let times = figures.iter().filter(|figure| figure.unit == Unit::Milliseconds);
    let times: Vec<&Figure> = times.collect();
    let rows = u32::try_from(times.len())?;
    let area = SVGBackend::new(file, (WIDTH, ROW_HEIGHT * (rows + 2))).into_drawing_area();
    area.fill(&WHITE)?;
    let style = ("sans-serif", 13).into_font();
    let title = "Sandbox: medians in milliseconds, logarithmic; the mark is the target";
    area.draw(&Text::new(title, (10, 6), style.clone()))?;
    for (row, figure) in (1..).zip(times) {
        let top = row * i32::try_from(ROW_HEIGHT)? + 6;
        let end = position(figure.median);
        area.draw(&Text::new(figure.name.clone(), (10, top), style.clone()))?;
        area.draw(&Rectangle::new([(NAMES_WIDTH, top), (end, top + 14)], OWN.filled()))?;
        let median = format!("{:.2}", figure.median);
        area.draw(&Text::new(median, (end + 8, top), style.clone()))?;
        if let Some(target) = figure.target.map(position) {
            let mark = [(target, top - 3), (target + 2, top + 17)];
            area.draw(&Rectangle::new(mark, TARGET.filled()))?;
        }
    }
    area.present()?;
    Ok(())
}

/// Where a time lies on the scale, in pixels.
#[allow(clippy::cast_possible_truncation)] // between 0 and BARS_WIDTH by the clamp
fn position(milliseconds: f64) -> i32 {
    let (least, most) = (SCALE.0.log10(), SCALE.1.log10());
    let share = (milliseconds.max(SCALE.0).log10() - least) / (most - least);
    NAMES_WIDTH + (share.clamp(0.0, 1.0) * BARS_WIDTH) as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chart.svg");
        let figures = ["fork", "tiny"]
            .map(|name| Figure::new(name, Unit::Milliseconds, vec![0.5], Some(1.0)));
        draw(&figures, &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.contains("fork") && svg.contains("tiny") && svg.contains("0.50"));
    }

    #[test]
    fn positions_stay_on_the_scale() {
        assert_eq!(position(0.0), NAMES_WIDTH);
        assert_eq!(position(1e9), NAMES_WIDTH + 420);
        assert_eq!(position(f64::NAN), NAMES_WIDTH);
    }
}
