//! The metadata by which kohya's and LyCORIS's files describe themselves.

use std::collections::BTreeMap;

/// How an adapter was made, as `ss_...` metadata tell it. What is none is left as the file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Rank (`ss_network_dim`).
    pub dim: Option<usize>,
    /// Alpha (`ss_network_alpha`).
    pub alpha: Option<f64>,
    /// The algorithm and its options (`ss_network_args`, a JSON object of strings).
    pub args: Option<BTreeMap<String, String>>,
    /// The base's family, such as `sd_v1` or `sdxl_base_v1-0` (`ss_base_model_version`).
    pub base_model_version: Option<String>,
}

impl Network {
    /// Writes itself into a file's metadata. All values are strings there.
    pub fn describe(&self, metadata: &mut BTreeMap<String, String>) {
        let mut set = |key: &str, value: Option<String>| {
            metadata.extend(value.map(|value| (key.to_string(), value)));
        };
        set("ss_network_module", Some("lycoris.kohya".into()));
        set("ss_network_dim", self.dim.map(|dim| dim.to_string()));
        set("ss_network_alpha", self.alpha.map(|alpha| alpha.to_string()));
        let args = self.args.as_ref().map(|args| serde_json::json!(args).to_string());
        set("ss_network_args", args);
        set("ss_base_model_version", self.base_model_version.clone());
    }
}
