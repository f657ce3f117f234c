//! What the README says of the registry is what the registry says.

mod readme {
    mod formulas;
}

use higanbana_adapters::{docs::markdown_table, registry};

#[test]
fn the_table_of_algorithms_is_current() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("--markdown` -->\n").expect("the table's beginning");
    let (table, _) = rest.split_once("<!-- /algorithms").expect("the table's end");
    assert_eq!(
        table,
        markdown_table(&registry()),
        "replace the README's table with the output of `higanbana adapters --markdown`"
    );
}

#[test]
fn the_readme_is_short() {
    assert!(include_str!("../README.md").lines().count() <= 150);
}
