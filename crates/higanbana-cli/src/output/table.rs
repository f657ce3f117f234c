//! Tables in the terminal.

use anyhow::Result;
use comfy_table::{CellAlignment, presets};

use super::terminal::{lines, plain};

/// A table; what its cells hold may come from files.
pub struct Table(comfy_table::Table);

/// A table with these headings; those that end in `>` are aligned to the right.
pub fn table(headings: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.trim_end_matches('>')));
    for (index, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if heading.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    Table(table)
}

/// Writes a table.
///
/// # Errors
/// When standard output cannot be written.
pub fn show(table: &Table) -> Result<()> {
    lines(table.0.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

impl Table {
    /// Adds a row.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item: AsRef<str>>) {
        self.0.add_row(cells.into_iter().map(|cell| plain(cell.as_ref())));
    }
}
