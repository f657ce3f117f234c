//! The page of contents.

use std::path::Path;

use anyhow::Result;
use higanbana_io::writer::write_text;
use higanbana_lab::report;

use crate::output;

/// Writes it, for the pages that there are in the folder.
pub fn write(folder: &Path) -> Result<()> {
    let path = folder.join("index.html");
    let pages = |file: &str| folder.join(file).exists();
    write_text(&path, &report::index(pages)?, true)?;
    output::line(format!("All pages: {}", path.display()))
}
