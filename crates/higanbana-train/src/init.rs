//! A training that begins from an adapter instead of from nothing.
//!
//! The recipe says what is trained, as ever; the file has to hold the same adapters, whose tensors take the place
//! of the initial values. So the training goes on from what the file makes of the model, or is refused.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use higanbana_adapters::inject::attach;
use higanbana_core::{DynAdapter, Registry, Site};
use higanbana_diffusion::{Pipeline, pipeline::read_file};
use higanbana_io::{AdapterReader, Strength, names::Component};

use crate::{
    TrainError,
    network::{ENCODERS, Network, SET, UNET},
    weights,
};

/// A network that begins as the adapters of a file are. `tokens` are those that are
/// [learnt](Network::learning) beside them.
///
/// # Errors
/// When the file cannot be read, or holds other adapters than the network.
pub fn started(
    network: Network,
    file: &Path,
    pipeline: &Pipeline,
    registry: &Registry,
    tokens: &[bool],
) -> Result<Network, TrainError> {
    let wrong = |reason: String| TrainError::Data { path: file.into(), reason };
    let reader = AdapterReader::open(file, registry)?;
    let (found, placed) = read_file(pipeline, &reader, &Strength::from(1.0), registry)?;
    // Tokens that the file brings along may be learnt already, as the recipe says.
    let embeddings = reader.embeddings()?;
    let is_learnt = |key: &str| {
        let token = embeddings.iter().find(|it| it.key == key).map(|it| &it.token);
        token.is_some_and(|token| {
            pipeline.encoders.iter().all(|it| it.tokenizer.numbers(token).is_some())
        })
    };
    let left: Vec<_> = placed.leftovers.iter().filter(|it| !is_learnt(&it.name)).collect();
    if let Some(first) = left.first() {
        let (count, name, reason) = (left.len(), &first.name, &first.reason);
        return Err(wrong(format!(
            "{count} of its modules and tensors cannot be trained on, first {name}: {reason}"
        )));
    }
    let prefix = |component| match component {
        Component::Unet => Some(UNET),
        Component::TextEncoder => Some(ENCODERS[0]),
        Component::TextEncoder2 => Some(ENCODERS[1]),
        _ => None,
    };
    let held: Vec<(&str, Site, DynAdapter)> = found
        .into_iter()
        .filter_map(|(component, _, adapters)| Some((prefix(component)?, adapters)))
        .flat_map(|(prefix, adapters)| {
            adapters.into_iter().map(move |(site, adapter)| (prefix, site, adapter))
        })
        .collect();
    same_places(&network, &held).map_err(wrong)?;
    let of = |prefix: &str| -> Vec<(Site, DynAdapter)> {
        let own = held.iter().filter(|(model, ..)| *model == prefix);
        own.map(|(_, site, adapter)| (site.clone(), adapter.clone())).collect()
    };
    let encoders =
        pipeline.encoders.iter().zip(ENCODERS).map(|(encoder, prefix)| match of(prefix) {
            none if none.is_empty() => Ok(encoder.model.clone().no_grad()),
            adapters => attach(&encoder.model, SET, 1.0, adapters),
        });
    let encoders = encoders.collect::<Result<_, _>>()?;
    let unet = attach(&pipeline.unet, SET, 1.0, of(UNET))?;
    let theirs = Network { unet, encoders }.train().learning(tokens);
    let (own, theirs) = (weights::read(&network), weights::read(&theirs));
    let differs =
        |path: &&String| theirs.get(*path).map(|it| it.shape()) != Some(own[*path].shape());
    if let Some(path) =
        own.keys().chain(theirs.keys()).find(|it| !own.contains_key(*it) || differs(it))
    {
        return Err(wrong(other_form(path)));
    }
    let network = weights::write(network, &theirs);
    same_tensors(&network, &held).map_err(wrong)?;
    Ok(network)
}

/// That a file has an adapter of the same algorithm at every place, and at no other.
fn same_places(network: &Network, held: &[(&str, Site, DynAdapter)]) -> Result<(), String> {
    let place = |(prefix, site, adapter): &(&str, Site, DynAdapter)| {
        (format!("{prefix}.{} ({})", site.path, site.kind.name()), adapter.name())
    };
    let trained = network.adapters().map_err(|error| error.to_string())?;
    let trained: BTreeMap<String, &str> = trained.iter().map(place).collect();
    let held: BTreeMap<String, &str> = held.iter().map(place).collect();
    let differing = trained.keys().chain(held.keys()).find(|at| trained.get(*at) != held.get(*at));
    let Some(at) = differing else { return Ok(()) };
    let name = |of: &BTreeMap<String, &str>| of.get(at).map_or("nothing", |name| name).to_string();
    Err(format!(
        "has {} at {at}, where the recipe trains {}; give adapter.algorithm, preset and text_encoder as it \
         was trained with",
        name(&held),
        name(&trained)
    ))
}

/// That the network has the tensors of the file, those too that are not trained: alpha, for one.
fn same_tensors(network: &Network, held: &[(&str, Site, DynAdapter)]) -> Result<(), String> {
    let values = |adapter: &DynAdapter, site: &Site| -> Vec<(String, Vec<f64>)> {
        adapter.write(site).into_iter().map(|(key, data)| (key, data.iter().collect())).collect()
    };
    for (prefix, site, adapter) in network.adapters().map_err(|error| error.to_string())? {
        let theirs = held.iter().find(|(other, place, _)| *other == prefix && *place == site);
        if theirs.is_none_or(|(_, _, other)| values(other, &site) != values(&adapter, &site)) {
            return Err(other_form(&format!("{prefix}.{}", site.path)));
        }
    }
    Ok(())
}

fn other_form(at: &str) -> String {
    format!("has another rank, alpha or form at {at}; give adapter.options as it was trained with")
}
