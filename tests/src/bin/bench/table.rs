//! Figures for people and for programs.

use std::fmt;

use serde_json::{Map, Value, json};

/// Rows of figures.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    /// Name and digits behind the point.
    columns: &'static [(&'static str, usize)],
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) const fn new(
        title: &'static str,
        columns: &'static [(&'static str, usize)],
    ) -> Self {
        Self { title, columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, figures: impl Into<Vec<f64>>) {
        let (name, figures) = (name.into(), figures.into());
        assert_eq!(figures.len(), self.columns.len(), "{name}");
        self.rows.push((name, figures));
    }

    pub(crate) fn json(&self) -> Value {
        let row = |(name, figures): &(String, Vec<f64>)| {
            let names = self.columns.iter().map(|(column, _)| (*column).to_owned());
            let figures: Map<_, _> =
                names.zip(figures.iter().map(|figure| json!(figure))).collect();
            (name.clone(), Value::Object(figures))
        };
        Value::Object(self.rows.iter().map(row).collect())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        write!(f, "{}\n| {:<width$} |", self.title, "")?;
        for (column, _) in self.columns {
            write!(f, " {column} |")?;
        }
        write!(f, "\n| {:-<width$} |", "")?;
        for (column, _) in self.columns {
            write!(f, " {:->1$}: |", "", column.chars().count().saturating_sub(1))?;
        }
        for (name, figures) in &self.rows {
            write!(f, "\n| {name:<width$} |")?;
            for (figure, (column, digits)) in figures.iter().zip(self.columns) {
                write!(f, " {figure:>0$.1$} |", column.chars().count(), digits)?;
            }
        }
        writeln!(f)
    }
}

/// The figure in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure below which this share of them lies. They are in order.
pub(crate) fn at_share(figures: &[f64], share: f64) -> f64 {
    let last = figures.len().saturating_sub(1);
    figures.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
