//! Tables of what was measured.

use std::fmt::Write;

/// A table, with columns in line or in Markdown.
pub(crate) struct Table {
    title: String,
    /// The first of them is the header.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, header: Vec<String>) -> Self {
        Self {
            title: title.into(),
            rows: vec![header],
        }
    }

    pub(crate) fn show(&self, markdown: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = format!("{}\n\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            if markdown {
                let _ = writeln!(text, "| {} |", row.join(" | "));
                if number == 0 {
                    let _ = writeln!(text, "|{}", " --- |".repeat(columns));
                }
                continue;
            }
            let padded = row.iter().zip(&widths);
            let padded: Vec<String> = padded
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let _ = writeln!(text, "{}", padded.join("   ").trim_end());
        }
        text + "\n"
    }
}
