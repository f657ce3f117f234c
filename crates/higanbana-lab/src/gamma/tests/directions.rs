//! Tensors of degree 0.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor},
};
use higanbana_core::{
    Adapter, AdapterError, Degree, Init, NoOptions, Parts, Registry, Site, SiteKind, Tensors,
};
use higanbana_train::{Scaling, optimizers, scaling::Block};

use crate::gamma::{GammaError, Question, Subject, THRESHOLD, course::Course, rule, setup::Setup};

/// A Householder reflection, $W = (I - 2 u u^\top / \lVert u \rVert^2) W_0$, which does not see the length of $u$.
#[derive(Module, Debug)]
pub struct Reflection {
    u: Param<Tensor<2>>,
}

impl Adapter for Reflection {
    type Config = NoOptions;

    const NAME: &'static str = "reflection";
    const TITLE: &'static str = "a reflection";
    const REFERENCE: &'static str = "none";
    const FORMULA: &'static str = "-2 u u^T W_0";
    const RANK: &'static str = "1";
    const PARAMETERS: &'static str = "out";
    const KEYS: &'static [&'static str] = &["u"];
    const SITES: &'static [SiteKind] = &[SiteKind::Linear];
    const NEEDS_BASE: bool = true;

    fn new(site: &Site, _: &NoOptions, init: &mut Init) -> Result<Self, AdapterError> {
        Ok(Self { u: Param::from_tensor(init.normal([site.out(), 1], 1.0)) })
    }

    fn update(&self, _: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let u = self.u.val();
        let square = u.clone().square().sum().reshape([1, 1]);
        u.clone().matmul(u.transpose().matmul(w0.clone())).mul_scalar(-2.0) / square
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("u", 0)])
    }

    fn rank_bound(&self, _: &Site) -> usize {
        1
    }

    fn parameter_count(&self, site: &Site) -> usize {
        site.out()
    }

    fn write(&self, _: &Site) -> Tensors {
        Tensors::new()
    }

    fn read(site: &Site, _: &Parts) -> Result<Self, AdapterError> {
        Err(AdapterError::option(site, "it has no file"))
    }
}

fn registry() -> Registry {
    Registry::empty().with::<Reflection>()
}

#[test]
fn degree_0_says_that_nothing_replaces_gamma() {
    let registry = registry();
    let subject = Subject::named(&registry, "reflection").unwrap();
    for gamma in [0.25, 0.037, 4.0] {
        let question = Question::new(&subject, rule("adamw").unwrap(), gamma);
        match question.answer(&registry, &Device::flex()) {
            Err(GammaError::Outside { reason, .. }) => {
                assert_eq!(reason, "degree 0: no scaling of the tensors replaces gamma");
            }
            other => panic!("{other:?}"),
        }
    }
    // Also at the γ that is asked about by default.
    assert_eq!(subject.dyadic_gamma(&registry).unwrap(), 1.0);
}

/// How far a training at `with`, from tensors divided by `factor`, is from one without γ at the rules of `factor`.
fn apart(optimizer: &str, with: f64, factor: f64) -> f64 {
    let (registry, device) = (registry(), Device::flex());
    let subject = Subject::named(&registry, "reflection").unwrap();
    let rule = rule(optimizer).unwrap();
    let question = Question { steps: 12, ..Question::new(&subject, rule, with) };
    let net = subject.mlp(&registry, question.widths, &device, DType::F64, 0).unwrap();
    // Nothing but what a scaling is made of: the judgement would refuse this one.
    let known = Degree::Update(vec![("u", 1)]);
    let scaling = |_: &_| {
        let plain = Scaling::for_gamma(&known, rule, with).unwrap();
        let block = Block { factor, ..plain.blocks[0].clone() };
        Scaling { blocks: vec![block], ..plain }
    };
    let scalings: Vec<Scaling> = net.sites.iter().map(scaling).collect();
    let setup = Setup::new(&question, vec![factor; scalings.len()], scalings);
    let mut reference = Course::with_gamma(&net, &setup);
    reference.compare(Course::without_gamma(&net, &setup, None), 12, None).deviation()
}

#[test]
fn the_factor_of_a_direction_is_free() {
    for rule in optimizers() {
        for factor in [0.25, 8.0] {
            assert_eq!(apart(rule.name, 1.0, factor), 0.0, "{} at {factor}", rule.name);
        }
    }
}

#[test]
fn no_factor_of_a_direction_replaces_gamma() {
    for optimizer in ["sgd", "adamw", "muon", "prodigy"] {
        for exponent in [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0] {
            let apart = apart(optimizer, 0.25, 0.25f64.powf(exponent));
            assert!(apart > 100.0 * THRESHOLD, "{optimizer}, γ^{exponent}: {apart:e}");
        }
    }
}
