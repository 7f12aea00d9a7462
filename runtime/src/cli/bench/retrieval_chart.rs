//! Recall at 5 of every system on every set, as bars.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::corpus::Row;

const WIDTH: u32 = 820;
const ROW_HEIGHT: i32 = 20;
/// Room between two sets.
const GAP: i32 = 14;
/// Left of the bars: the names.
const NAMES_WIDTH: i32 = 270;
const BARS_WIDTH: f64 = 460.0;
const OWN: RGBColor = RGBColor(45, 95, 160);
const PEER: RGBColor = RGBColor(165, 175, 190);

/// Draws the rows, which are in order of their sets, as an SVG.
pub fn draw(rows: &[Row], file: &Path) -> Result<()> {
    let sets = rows.chunk_by(|one, other| one.set == other.set);
    let height = 40 + i32::try_from(rows.len())? * ROW_HEIGHT + i32::try_from(sets.count())? * GAP;
    let area = SVGBackend::new(file, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let style = ("sans-serif", 13).into_font();
    let title = "Share of the documents that answer, among the first five hits (per cent)";
    area.draw(&Text::new(title, (10, 8), style.clone()))?;
    let mut top = 34;
    for set in rows.chunk_by(|one, other| one.set == other.set) {
        for row in set {
            let recall = row.scores.recall_5;
            let end = NAMES_WIDTH + pixels(recall);
            let colour = if row.system == "retort" { OWN } else { PEER };
            let name = format!("{}, {}", row.set, row.system);
            area.draw(&Text::new(name, (10, top), style.clone()))?;
            area.draw(&Rectangle::new([(NAMES_WIDTH, top), (end, top + 14)], colour.filled()))?;
            area.draw(&Text::new(format!("{recall:.1}"), (end + 8, top), style.clone()))?;
            top += ROW_HEIGHT;
        }
        top += GAP;
    }
    area.present()?;
    Ok(())
}

#[allow(clippy::cast_possible_truncation)] // between 0 and BARS_WIDTH by the clamp
fn pixels(percent: f64) -> i32 {
    (percent.clamp(0.0, 100.0) / 100.0 * BARS_WIDTH) as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::retrieval::Scores;
    use super::*;

    #[test]
    fn every_system_has_its_bar() {
        let row = |system| Row {
            set: "wiki".to_owned(),
            system,
            scores: Scores { recall_5: 91.6, ..Scores::default() },
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chart.svg");
        draw(&[row("retort"), row("tantivy")], &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.contains("wiki, retort") && svg.contains("wiki, tantivy"));
        assert_eq!(svg.matches("91.6").count(), 2);
    }
}
