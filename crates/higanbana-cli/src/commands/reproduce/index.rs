//! The page of contents.

use std::path::Path;

use anyhow::Result;
use higanbana_lab::report;

use crate::output;

/// Its name.
pub const NAME: &str = "index.html";

/// Writes it, for the pages that there are in the folder.
pub fn write(folder: &Path) -> Result<()> {
    let pages = |file: &str| folder.join(file).exists();
    let [path] = super::write(folder, [NAME], [report::index(pages)?])?;
    output::line(format!("All pages: {}", path.display()))
}
