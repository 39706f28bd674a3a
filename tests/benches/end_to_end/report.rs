//! Rows of figures: medians, spreads, and ratios to the yardstick.

use std::fmt;

/// All rows, in the order in which they were begun.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    unit: &'static str,
    cells: Vec<(&'static str, Vec<f64>)>,
}

impl Report {
    /// Notes a figure of one system.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, system: &'static str, figure: f64) {
        let row = match self.rows.iter().position(|row| row.name == name) {
            Some(at) => &mut self.rows[at],
            None => {
                self.rows.push(Row {
                    name: name.to_owned(),
                    unit,
                    cells: Vec::new(),
                });
                self.rows.last_mut().unwrap()
            }
        };
        match row.cells.iter_mut().find(|(of, _)| *of == system) {
            Some((_, figures)) => figures.push(figure),
            None => row.cells.push((system, vec![figure])),
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| row | unit | pypicache | spread | beside | ratio |\n|---|---|---:|---:|---:|---:|"
        )?;
        for row in &self.rows {
            let Some((_, ours)) = row.cells.iter().find(|(system, _)| *system == "pypicache") else {
                continue;
            };
            let figure = median(ours);
            let (low, high) = ours.iter().fold((f64::MAX, f64::MIN), |(low, high), one| {
                (low.min(*one), high.max(*one))
            });
            let spread = if figure == 0.0 {
                0.0
            } else {
                (high - low) / figure * 100.0
            };
            write!(
                f,
                "| {} | {} | {} | {spread:.0} % |",
                row.name,
                row.unit,
                shown(figure)
            )?;
            let others: Vec<_> = row
                .cells
                .iter()
                .filter(|(system, _)| *system != "pypicache")
                .collect();
            let beside: Vec<_> = others
                .iter()
                .map(|(system, figures)| format!("{system} {}", shown(median(figures))))
                .collect();
            let ratios: Vec<_> = others
                .iter()
                .map(|(_, figures)| format!("{:.2}", figure / median(figures)))
                .collect();
            writeln!(f, " {} | {} |", beside.join(", "), ratios.join(", "))?;
        }
        Ok(())
    }
}

fn shown(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.3}")
    }
}
