//! The example of an algorithm from outside runs from start to end.

#[path = "../crates/higanbana/examples/khatri_rao.rs"]
mod khatri_rao;

#[test]
fn an_algorithm_from_outside_has_everything() {
    khatri_rao::main().unwrap();
}
