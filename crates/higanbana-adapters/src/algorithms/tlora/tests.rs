use burn::tensor::{DType, Device};
use higanbana_core::{Op, SiteKind};

use super::*;

fn adapter(options: &str) -> (Site, Tensor<2>, Tlora) {
    let site = Site::new("l", SiteKind::Linear, [6, 5]);
    let empty = Tensor::zeros([6, 5], (&Device::default(), DType::F64));
    let w0 = Init::new(&site, empty, 1).normal([6, 5], 1.0);
    let config = toml::from_str(options).unwrap();
    let adapter = Tlora::new(&site, &config, &mut Init::new(&site, w0.clone(), 2)).unwrap();
    (site, w0, adapter)
}

fn largest<const D: usize>(x: Tensor<D>) -> f64 {
    x.abs().max().into_scalar()
}

#[test]
fn twice_the_singular_values_add_the_weight_once() {
    let (site, w0, mut tlora) = adapter("rank = 5\nalpha = 5.0");
    assert_eq!(largest(tlora.update(&site, &w0)), 0.0);
    assert!(largest(tlora.orthogonality().unwrap()) < 1e-28);
    tlora.lambda_layer = tlora.lambda_layer.map(|lambda| lambda * 2.0);
    assert!(largest(tlora.update(&site, &w0) - w0) < 1e-14);
}

#[test]
fn every_sample_of_a_batch_has_its_own_mask() {
    let (site, w0, mut tlora) = adapter("sig_type = \"last\"");
    tlora.q_layer = tlora.q_layer.map(|q| q * 1.5);
    let rows = Features::Rows { x: Tensor::<2>::eye(5, &w0.device()).cast(DType::F64), batch: 5 };
    let call = Call { site: &site, w0: &w0, x: &rows, op: &Op::Linear, strength: 1.0 };
    tlora.condition(&Condition::at([0.0, 250.0, 500.0, 750.0, 999.0], 1000.0));
    let Some(Features::Rows { x: added, .. }) = tlora.added(&call, &rows) else {
        panic!("a linear layer has a shortcut")
    };
    for (sample, t) in [0.0, 250.0, 500.0, 750.0, 999.0].into_iter().enumerate() {
        tlora.condition(&Condition::at([t, t], 1000.0));
        let column = tlora.update(&site, &w0).narrow(1, sample, 1).transpose();
        assert!(largest(column - added.clone().narrow(0, sample, 1)) < 1e-15, "{t}");
    }
}

#[test]
fn a_smaller_rank_is_what_a_mask_leaves_of_the_larger() {
    let (site, w0, mut tlora) = adapter("rank = 4\nalpha = 2.0");
    tlora.q_layer = tlora.q_layer.map(|q| q * 1.5 + 0.25);
    let norms = tlora.norms_by_rank();
    let small = tlora.resized(&site, &w0, Budget::Rank(2)).unwrap().unwrap();
    assert_eq!((small.rank(), small.scale.value()), (2, 0.5));
    // The timesteps that leave one to four ranks.
    let mut before = Tensor::zeros_like(&w0);
    for ((r, norm), t) in norms.into_iter().enumerate().zip([999.0, 500.0, 250.0, 0.0]) {
        tlora.condition(&Condition::at([t], 1000.0));
        let update = tlora.update(&site, &w0);
        if r + 1 == small.rank() {
            assert!(largest(small.update(&site, &w0) - update.clone()) < 1e-15);
        }
        // A rank's norm is that of what it adds.
        let own = (update.clone() - before).square().sum().into_scalar::<f64>().sqrt();
        assert!((norm - own).abs() < 1e-13, "{norm} {own}");
        before = update;
    }
}

#[test]
#[should_panic(expected = "[4, 1] ranks")]
fn a_batch_of_different_masks_has_no_weight() {
    let (site, w0, mut tlora) = adapter("");
    tlora.condition(&Condition::at([0.0, 999.0], 1000.0));
    tlora.update(&site, &w0);
}
