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
    assert!(largest(tlora.orthogonality()) < 1e-28);
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
#[should_panic(expected = "[4, 1] ranks")]
fn a_batch_of_different_masks_has_no_weight() {
    let (site, w0, mut tlora) = adapter("");
    tlora.condition(&Condition::at([0.0, 999.0], 1000.0));
    tlora.update(&site, &w0);
}
