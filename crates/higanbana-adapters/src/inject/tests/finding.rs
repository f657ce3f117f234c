//! What is found in a model.

use super::*;

fn found(model: &impl Module) -> Vec<(String, SiteKind, Vec<usize>)> {
    sites(model).into_iter().map(|f| (f.site.path, f.site.kind, f.site.shape)).collect()
}

#[test]
fn layers_are_found_with_their_checkpoint_shapes() {
    let found = found(&net(&Device::default()));
    let site = |path: &str, kind, shape: &[usize]| (path.to_string(), kind, shape.to_vec());
    let block = |n: usize| {
        let path = |name: &str| format!("down_blocks.{n}.{name}");
        vec![
            site(&path("norm"), SiteKind::Norm, &[4]),
            site(&path("norm"), SiteKind::NormBias, &[4]),
            site(&path("proj_in"), SiteKind::Conv2d, &[4, 4, 1, 1]),
            site(&path("proj_in"), SiteKind::Bias, &[4]),
            site(&path("attn_1.to_q"), SiteKind::Linear, &[6, 4]),
            site(&path("attn_1.to_q"), SiteKind::Bias, &[6]),
            site(&path("attn_1.to_k"), SiteKind::Linear, &[6, 4]),
            site(&path("attn_1.to_k"), SiteKind::Bias, &[6]),
            site(&path("attn_1.to_out.0"), SiteKind::Linear, &[4, 6]),
            site(&path("attn_1.to_out.0"), SiteKind::Bias, &[4]),
            site(&path("attn_1.to_out.1"), SiteKind::Linear, &[4, 4]),
        ]
    };
    let conv_in = vec![
        site("conv_in", SiteKind::Conv2d, &[4, 3, 3, 3]),
        site("conv_in", SiteKind::Bias, &[4]),
    ];
    assert_eq!(found, [conv_in, block(0), block(1)].concat());
}

#[test]
fn layers_know_their_kind_and_the_structs_around_them() {
    let model = net(&Device::default());
    let sites = sites(&model);
    let of = |path: &str| sites.iter().find(|f| f.site.path == path).unwrap();
    assert_eq!(of("conv_in").layer, LayerKind::Conv);
    assert_eq!(of("down_blocks.0.proj_in").layer, LayerKind::Pointwise);
    assert_eq!(of("down_blocks.0.norm").layer, LayerKind::Norm);
    let to_out = of("down_blocks.1.attn_1.to_out.0");
    assert_eq!(to_out.layer, LayerKind::Linear);
    assert_eq!(to_out.classes(), ["Net", "Transformer2DModel", "Attention", "Linear"]);
    let bias = sites.iter().find(|f| f.site.kind == SiteKind::Bias && f.site.path.ends_with("in"));
    assert_eq!(bias.unwrap().layer, LayerKind::Conv);
}

#[test]
fn matrices_are_out_by_in_and_untracked() {
    let model = net(&Device::default().autodiff());
    let Block::Attended(block) = &model.down_blocks[0];
    let to_q = sites(&model).into_iter().find(|f| f.site.path.ends_with("to_q")).unwrap();
    assert!(!to_q.matrix().is_require_grad());
    let expected = block.attn_1.to_q.weight.val().transpose();
    to_q.matrix().into_data().assert_eq(&expected.into_data(), true);
}

#[test]
fn structs_of_ones_own_are_treated_as_named() {
    let model = net(&Device::default());
    let like = [("Projection".to_string(), LayerKind::Linear)].into();
    let found = sites_like(&model, &like).pop().unwrap();
    assert_eq!(found.site, Site::new("out_proj", SiteKind::Linear, [5, 4]));

    let injection = lora("a").like("Projection", LayerKind::Linear);
    let rule = Rule::paths(["out_proj"]).unwrap();
    let (_, report) = inject(&model, &registry(), &injection.rule(rule)).unwrap();
    assert_eq!(paths(&report), ["out_proj"]);
}

#[test]
fn adapters_are_not_sites() {
    let model = net(&Device::default());
    let (adapted, _) = inject(&model, &registry(), &lora("a")).unwrap();
    assert_eq!(found(&adapted), found(&model));
}

#[test]
fn lazy_parameters_stay_lazy() {
    let model = net(&Device::default());
    sites(&model);
    assert!(!model.conv_in.weight.is_initialized());
}

#[test]
fn layers_of_this_crate_are_found_as_burns_are() {
    #[derive(Module, Debug)]
    struct Ours {
        linear: crate::layers::Linear,
        conv: crate::layers::Conv2d,
    }
    let device = Device::default();
    let ours = Ours {
        linear: LinearConfig::new(2, 3).init(&device).into(),
        conv: Conv2dConfig::new([2, 3], [3, 3]).init(&device).into(),
    };
    let kinds: Vec<SiteKind> = sites(&ours).iter().map(|f| f.site.kind).collect();
    assert_eq!(kinds, [SiteKind::Linear, SiteKind::Bias, SiteKind::Conv2d, SiteKind::Bias]);
}
