//! Every file of LyCORIS acts here as it acts there.

use burn::tensor::Device;
use higanbana_adapters::registry;
use higanbana_lab::adapters::{Fixtures, run};

/// Relative Frobenius norm, in f32.
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_file_of_lycoris_acts_as_in_lycoris() {
    let rows = run(&registry(), &Device::flex(), |_| ()).unwrap();
    for row in &rows {
        println!("{:32} {:12} {:.1e}", row.case, row.algorithm, row.deviation);
    }
    for row in rows {
        let by = row.deviation;
        assert!(by <= TOLERANCE, "{}: deviates by {by:.1e}", row.case);
        assert!(row.rank <= row.rank_bound, "{}: rank {} > {}", row.case, row.rank, row.rank_bound);
    }
}

#[test]
fn files_are_taken_for_what_they_are() {
    let rows = run(&registry(), &Device::flex(), |_| ()).unwrap();
    for (row, case) in rows.iter().zip(Fixtures::committed().cases) {
        // Nested ranks share the keys of the plain algorithm: their file is one.
        let expected = if case.algorithm == "dylora" { "lora" } else { &case.algorithm };
        assert_eq!(row.detected, expected, "{}", row.case);
    }
}
