//! A table of aligned columns.

/// A table that grows by rows.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The columns; each says its unit.
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it: the first column to the left, numbers to the right.
    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|place| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(place))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        println!();
        for row in &self.rows {
            let mut line = String::new();
            for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let fill = " ".repeat(width - cell.chars().count());
                line += &if place == 0 { format!("{cell}{fill}") } else { format!("  {fill}{cell}") };
            }
            println!("{}", line.trim_end());
        }
        println!();
    }
}

/// A number with so many digits after the point.
pub fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// Microseconds as milliseconds.
pub fn ms(micros: f64) -> String {
    number(micros / 1e3, 2)
}

/// The one in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
