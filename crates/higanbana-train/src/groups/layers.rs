//! What the theorem is asked about each adapter of a network.

use std::collections::HashMap;

use higanbana_core::{DynAdapter, Site};

use super::wrong;
use crate::{TrainError, network::Network, scaling::Layer};

type Placed = (&'static str, Site, DynAdapter);

/// The layer of each adapter, with the $\gamma$ by which the published alpha differs from its own.
///
/// # Errors
/// When an adapter has no alpha, or one that is not where its degree has $\gamma$.
pub(super) fn layers(own: &[Placed], published: &Network) -> Result<Vec<Layer>, TrainError> {
    let published = published.adapters()?;
    let pairs = own.iter().zip(&published);
    let mut layers = pairs.map(layer).collect::<Result<Vec<_>, _>>()?;
    for (index, like) in alike(own, &layers) {
        let ((prefix, site, adapter), published) = (&own[index], &published[index].2);
        let gamma = Layer::between(published, adapter, site, layers[index].gamma)
            .map_err(|error| {
                let (name, path) = (adapter.name(), &site.path);
                wrong(format!("scale_from: {name} at {prefix}.{path}: {error}"))
            })?
            .gamma;
        if gamma == 1.0 {
            like.into_iter().for_each(|index| layers[index].gamma = 1.0);
        }
    }
    Ok(layers)
}

fn layer(
    ((prefix, site, own), (_, _, published)): (&Placed, &Placed),
) -> Result<Layer, TrainError> {
    match (alpha(published, site), alpha(own, site)) {
        (Some(published), Some(alpha)) => Ok(Layer::of(own, published / alpha)),
        _ => {
            let (name, path) = (own.name(), &site.path);
            Err(wrong(format!("scale_from: {name} has no alpha at {prefix}.{path}")))
        }
    }
}

/// The layers of every algorithm and degree whose $\gamma$ is not 1, with the number of the smallest first: where
/// its alpha is shows there.
fn alike(own: &[Placed], layers: &[Layer]) -> Vec<(usize, Vec<usize>)> {
    let mut kinds: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, ((_, _, adapter), layer)) in own.iter().zip(layers).enumerate() {
        if layer.gamma != 1.0 {
            let kind = format!("{} {:?} {}", adapter.name(), layer.degree, layer.gamma);
            kinds.entry(kind).or_default().push(index);
        }
    }
    let size = |index: &usize| own[*index].1.out() * own[*index].1.cols();
    let smallest = |like: Vec<usize>| (like.iter().copied().min_by_key(size), like);
    let mut kinds: Vec<_> = kinds.into_values().map(smallest).collect();
    kinds.sort();
    kinds.into_iter().filter_map(|(index, like)| Some((index?, like))).collect()
}

/// Alpha, as an adapter's file has it.
fn alpha(adapter: &DynAdapter, site: &Site) -> Option<f64> {
    adapter.write(site).get("alpha")?.iter::<f64>().next()
}
