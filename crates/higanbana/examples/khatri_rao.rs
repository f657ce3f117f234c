//! An adapter of your own: the column-wise Khatri-Rao product of two small matrices, as in
//! KRAdapter (arXiv:2508.00230). It is full of rank for few parameters.
//!
//! $$\Delta W_{(a,b),i} = U_{a,i} V_{b,i}, \qquad U \in \mathbb R^{p \times in\cdot K}, \quad
//! V \in \mathbb R^{q \times in\cdot K}, \quad pq = out$$
//!
//! The first half of this file is the algorithm. The second injects it into a Burn model, trains,
//! saves, reloads, and runs the laws and an experiment of the toolkit on it.

#![allow(clippy::print_stdout)]

use burn::{
    module::{Module, Param},
    nn,
    optim::{AdamWConfig, GradientsParams},
    tensor::{DType, Device, Distribution, Tensor, activation},
};
use higanbana::{
    adapters::inject::{Injection, adapters, attach, inject, sites},
    io::{Dialect, load, save},
    lab::{
        chapter::{Chapter, page, perform, study},
        experiment::Lab,
        rank::Rank,
        sweep::Plan,
    },
    laws,
    prelude::*,
};

/// The adapter.
#[derive(Module, Debug)]
pub struct KhatriRao {
    kr_u: Param<Tensor<2>>,
    kr_v: Param<Tensor<2>>,
}

impl Adapter for KhatriRao {
    type Config = NoOptions;

    const NAME: &'static str = "khatri-rao";
    const TITLE: &'static str = "KRAdapter";
    const REFERENCE: &'static str = "arXiv:2508.00230";
    const FORMULA: &'static str = r"U \odot_{KR} V";
    const RANK: &'static str = r"\min(out, in\,K)";
    const PARAMETERS: &'static str = r"(p + q)\, in\,K,\; pq = out";
    const KEYS: &'static [&'static str] = &["kr_u", "kr_v"];

    fn new(site: &Site, _: &NoOptions, init: &mut Init) -> Result<Self, AdapterError> {
        let [u, v] = shapes(site);
        let kr_u = Param::from_tensor(init.zeros(u));
        let kr_v = Param::from_tensor(init.kaiming_uniform(v, site.cols()));
        Ok(Self { kr_u, kr_v })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let u = self.kr_u.val().unsqueeze_dim::<3>(1);
        let v = self.kr_v.val().unsqueeze_dim::<3>(0);
        (u * v).reshape([site.out(), site.cols()])
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("kr_u", 1), ("kr_v", 1)])
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        shapes(site).iter().map(|[rows, cols]| rows * cols).sum()
    }

    fn write(&self, _site: &Site) -> Tensors {
        let [u, v] = [&self.kr_u, &self.kr_v].map(|factor| factor.val().to_data());
        Tensors::from([("kr_u".into(), u), ("kr_v".into(), v)])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let [u, v] = shapes(site);
        let kr_u = Param::from_tensor(parts.tensor("kr_u", u)?);
        let kr_v = Param::from_tensor(parts.tensor("kr_v", v)?);
        Ok(Self { kr_u, kr_v })
    }
}

/// Of $U$ and $V$, with $p$ and $q$ as equal as can be.
fn shapes(site: &Site) -> [[usize; 2]; 2] {
    let (p, q) = algebra::factorization(site.out(), -1);
    [[p, site.cols()], [q, site.cols()]]
}

#[derive(Module, Debug)]
struct Net {
    first: nn::Linear,
    second: nn::Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            first: nn::LinearConfig::new(12, 24).init(device),
            second: nn::LinearConfig::new(24, 6).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(activation::relu(self.first.forward(x)))
    }
}

fn train(mut net: Net, x: &Tensor<2>, y: &Tensor<2>, steps: usize) -> (Net, f64) {
    let mut optimizer = AdamWConfig::new().init();
    let mut loss = f64::NAN;
    for _ in 0..steps {
        let error = (net.forward(x.clone()) - y.clone()).powf_scalar(2.0).mean();
        loss = error.clone().into_scalar();
        let gradients = GradientsParams::from_grads(error.backward(), &net);
        net = optimizer.step(1e-2, net, gradients);
    }
    (net, loss)
}

/// Injects, trains, saves, reloads, checks the laws, and measures the rank beside that of every other.
pub fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let device = Device::flex();
    device.seed(7);
    let registry = Registry::empty().with::<KhatriRao>();

    let base = Net::new(&device.clone().autodiff());
    let x = Tensor::random([64, 12], Distribution::Normal(0.0, 1.0), &device.clone().autodiff());
    let y = Net::new(&device.clone().autodiff()).forward(x.clone()).detach();
    let (net, report) = inject(&base, &registry, &Injection::new("mine", KhatriRao::NAME))?;
    let (net, first) = train(net, &x, &y, 1);
    let (net, last) = train(net, &x, &y, 200);
    println!("{} trained values: loss {first:.4} -> {last:.4}", report.parameters());

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mine.safetensors");
    save(&path, &sites(&base), &adapters(&net, "mine")?, Dialect::Lycoris, &registry, false)?;
    let base = base.valid();
    let file = load(&path, &sites(&base), &registry)?;
    assert!(file.leftovers.is_empty(), "{:?}", file.leftovers);
    let reloaded = attach(&base, "mine", 1.0, file.adapters)?;
    let x = x.without_autodiff();
    assert_eq!(reloaded.forward(x.clone()).to_data(), net.valid().forward(x).to_data());
    println!("saved, reloaded: the same bits");

    let violations = laws::battery(&registry, &device, DType::F64);
    assert!(violations.is_empty(), "{}", laws::list(&violations));
    println!("every law holds");

    let mut lab = Lab::new(device);
    lab.adapters = lab.adapters.with::<KhatriRao>();
    let mut runs = Rank::plan(&lab, false)?;
    runs.retain(|run| run.shape == [32, 32] && !run.adapter.contains(':'));
    let done = perform::<Rank>(&lab, &Plan::of::<Rank>(&runs)?, folder.path(), |_, _| ())?;
    assert!(page::<Rank>(&done.results, &done.failures)?.contains(KhatriRao::NAME));
    println!("an experiment of the toolkit, with it among the adapters:");
    study::<Rank>(&done.results)?.findings.iter().for_each(|finding| println!("  {finding}"));
    Ok(())
}
