//! The measures of a file as a table and as a page.

use super::{FileRanks, Layer};
use crate::{
    plot::{Axis, Marks, Point, Series, Style, plot},
    study::{Cell, Figure, Gallery, Study, Table, digits},
};

/// Columns of numbers: heading, and how to read them.
type Column = (&'static str, fn(&Layer) -> Cell);

const COLUMNS: &[Column] = &[
    ("parameters", |layer| Cell::count(layer.parameters)),
    ("bound", |layer| Cell::count(layer.rank_bound)),
    ("rank", |layer| Cell::count(layer.measures.rank)),
    ("stable", |layer| Cell::number(layer.measures.stable_rank)),
    ("effective", |layer| Cell::number(layer.measures.effective_rank)),
    ("90 %", |layer| Cell::count(layer.measures.rank_90)),
    ("99 %", |layer| Cell::count(layer.measures.rank_99)),
    ("frobenius", |layer| Cell::number(layer.measures.frobenius)),
    ("spectral", |layer| Cell::number(layer.measures.spectral)),
];

/// The same beside the base weight.
const AGAINST_BASE: &[Column] = &[
    ("‖ΔW‖/‖W₀‖", |layer| {
        Cell::number(layer.against_base.as_ref().map(|it| it.relative_frobenius))
    }),
    ("spectral/base", |layer| {
        Cell::number(layer.against_base.as_ref().map(|it| it.relative_spectral))
    }),
    ("intruders", |layer| {
        let middle =
            layer.against_base.as_ref().and_then(|it| it.intruders.get(it.intruders.len() / 2));
        middle.map_or(Cell::text("–"), |(_, count)| Cell::count(*count))
    }),
];

/// What is compared of two files.
const COMPARED: &[&str] = &["parameters", "rank", "stable", "effective", "frobenius", "spectral"];

impl FileRanks {
    /// A row for each layer.
    pub fn table(&self) -> Table {
        let based = self.layers.iter().any(|layer| layer.against_base.is_some());
        let columns: Vec<&Column> =
            COLUMNS.iter().chain(AGAINST_BASE.iter().filter(|_| based)).collect();
        let row = |layer: &Layer| {
            let numbers = columns.iter().map(|(_, of)| of(layer));
            [Cell::text(&layer.name), Cell::text(layer.algorithm), Cell::text(shape(layer))]
                .into_iter()
                .chain(numbers)
                .collect()
        };
        Table {
            title: "Layers".into(),
            caption: "Of the update at strength 1, as the matrix [out, in·kernel], in f64. Intruders: of the first 16 directions of \
                      the tuned weight, those like none of the base’s, within 0.5."
                .into(),
            headings: ["layer", "algorithm", "shape"].into_iter().chain(columns.iter().map(|(name, _)| *name)).map(Into::into).collect(),
            rows: self.layers.iter().map(row).collect(),
        }
    }

    /// A row for each layer of either, in the order of the first.
    pub fn beside(&self, other: &Self) -> Table {
        let find =
            |file: &'_ Self, name: &str| file.layers.iter().position(|layer| layer.name == name);
        let new = other.layers.iter().filter(|layer| find(self, &layer.name).is_none());
        let columns: Vec<&Column> =
            COLUMNS.iter().filter(|(name, _)| COMPARED.contains(name)).collect();
        let row = |layer: &Layer| {
            let pair = [self, other].map(|file| find(file, &layer.name).map(|at| &file.layers[at]));
            let algorithms = pair.map(|it| it.map_or("–", |layer| layer.algorithm)).join(" | ");
            let numbers =
                columns.iter().flat_map(|(_, of)| pair.map(|it| it.map_or(Cell::text("–"), of)));
            [Cell::text(&layer.name), Cell::text(algorithms), Cell::text(shape(layer))]
                .into_iter()
                .chain(numbers)
                .collect()
        };
        let headings =
            columns.iter().flat_map(|(name, _)| [format!("{name} A"), format!("{name} B")]);
        Table {
            title: "Layers of both files".into(),
            caption: format!("A is {}, B is {}.", self.file.display(), other.file.display()),
            headings: ["layer", "algorithms", "shape"]
                .map(String::from)
                .into_iter()
                .chain(headings)
                .collect(),
            rows: self.layers.iter().chain(new).map(row).collect(),
        }
    }

    /// The page, with the table at hand.
    pub fn study(&self, other: Option<&Self>, table: Table) -> Study {
        let files: Vec<&Self> = std::iter::once(self).chain(other).collect();
        let name = |file: &&Self| {
            let name = file.file.file_name().unwrap_or(file.file.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let named: Vec<String> = files.iter().map(name).collect();
        Study {
            title: format!("rank of {}", named.join(" and ")),
            lead: "Rank and size of every update, at strength 1.".into(),
            findings: files.iter().map(|file| file.finding()).collect(),
            galleries: vec![Gallery {
                title: "Layer by layer".into(),
                caption: "In the order of the file.".into(),
                figures: vec![
                    figure(&files, "Effective rank", |layer| layer.measures.effective_rank),
                    figure(&files, "Frobenius norm", |layer| layer.measures.frobenius),
                ],
            }],
            tables: vec![table],
            notes: files
                .iter()
                .flat_map(|file| file.unknown.iter().chain(&file.leftovers))
                .map(ToString::to_string)
                .collect(),
            rerun: String::new(),
        }
    }

    fn finding(&self) -> String {
        let total = &self.total;
        format!(
            "{}: {} layers, {} parameters; ranks sum to {} of at most {}; the mean effective rank is {}, the norm of all updates {}.",
            self.file.display(),
            total.layers,
            total.parameters,
            total.rank,
            total.rank_bound,
            digits(total.effective_rank),
            digits(total.frobenius)
        )
    }
}

/// A number of every layer, in the order of the file.
fn figure(files: &[&FileRanks], what: &'static str, of: fn(&Layer) -> f64) -> Figure {
    let series = files.iter().enumerate().map(|(n, file)| {
        let layers = file.layers.iter().enumerate();
        let points = layers.map(|(at, layer)| Point::new(at as f64 + 1.0, of(layer)));
        let name = file.file.display().to_string();
        Series { name, style: Style::nth(n), points: points.collect() }
    });
    let axes = [Axis::linear("layer"), Axis::linear(what)];
    Figure {
        caption: format!("{what} of each layer."),
        svg: plot(what, axes, Marks::Lines, &series.collect::<Vec<_>>()),
    }
}

fn shape(layer: &Layer) -> String {
    layer.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}
