//! What the built-in presets select of Stable Diffusion, by the names and the classes of its modules.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor},
    nn::{
        GroupNorm, GroupNormConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::Device,
};
use higanbana::{
    adapters::inject::{Adapted, adapters, sites},
    io::{Checkpoint, Dialect, names::Architecture, save},
    prelude::*,
};

/// A layer of three outputs and two inputs, whatever it is called.
#[derive(Module, Debug)]
enum Layer {
    Linear(Linear),
    Conv(Conv2d),
    Norm(GroupNorm),
}

/// A module that is built from paths: Burn's derived modules tell visitors the same.
#[derive(Debug, Clone, Default)]
struct Node {
    container: String,
    fields: Vec<(String, Node)>,
    layer: Option<Layer>,
}

impl Node {
    fn root() -> Self {
        Self { container: "Struct:Pipeline".into(), ..Self::default() }
    }

    fn insert(&mut self, parent: &str, path: &[&str], layer: Layer) {
        let [name, rest @ ..] = path else {
            self.layer = Some(layer);
            return;
        };
        let index = self.fields.iter().position(|(field, _)| field == name).unwrap_or_else(|| {
            let container = container(parent, name);
            self.fields.push((name.to_string(), Node { container, ..Self::default() }));
            self.fields.len() - 1
        });
        self.fields[index].1.insert(name, rest, layer);
    }

    fn each(self, change: &impl Fn(Layer) -> Layer) -> Self {
        let fields = self.fields.into_iter().map(|(name, node)| (name, node.each(change)));
        Self { fields: fields.collect(), layer: self.layer.map(change), ..self }
    }
}

impl Module for Node {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.layer.iter().for_each(|layer| layer.visit(visitor));
        for (name, node) in &self.fields {
            visitor.enter_module(name, &self.container);
            node.visit(visitor);
            visitor.exit_module(name, &self.container);
        }
    }
    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        self.layer = self.layer.map(|layer| layer.map(mapper));
        for (name, node) in &mut self.fields {
            mapper.enter_module(name, &self.container);
            *node = std::mem::take(node).map(mapper);
            mapper.exit_module(name, &self.container);
        }
        self
    }
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        let devices = self.layer.iter().fold(devices, |all, layer| layer.collect_devices(all));
        self.fields.iter().fold(devices, |all, (_, node)| node.collect_devices(all))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(&|layer| layer.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(&|layer| layer.to_device(device))
    }
    fn train(self) -> Self {
        self.each(&Layer::train)
    }
    fn valid(&self) -> Self {
        self.clone().each(&|layer| layer.valid())
    }
    fn materialize(self) -> Self {
        self.each(&Layer::materialize)
    }
}

/// What Burn's visitors are told of a module: its class in diffusers and transformers, or a list.
fn container(parent: &str, name: &str) -> String {
    let class = match (parent, name) {
        ("attentions", _) => "Transformer2DModel",
        ("resnets", _) => "ResnetBlock2D",
        ("downsamplers", _) => "Downsample2D",
        ("upsamplers", _) => "Upsample2D",
        ("transformer_blocks", _) => "BasicTransformerBlock",
        ("down_blocks" | "up_blocks", _) => "CrossAttnBlock2D",
        ("layers", _) => "CLIPEncoderLayer",
        ("net", _) => "GEGLU",
        (_, "attn1" | "attn2") => "Attention",
        (_, "ff") => "FeedForward",
        (_, "time_embedding" | "add_embedding") => "TimestepEmbedding",
        (_, "self_attn") => "CLIPAttention",
        (_, "mlp") => "CLIPMLP",
        (_, "unet") => "UNet2DConditionModel",
        (_, "mid_block") => "UNetMidBlock2D",
        (_, "text_model") => "CLIPTextTransformer",
        (_, "encoder") => "CLIPEncoder",
        _ => return "Vec".into(),
    };
    format!("Struct:{class}")
}

/// The UNet below `unet`, and text encoders of so many blocks below `text_encoder`.
fn pipeline(architecture: Architecture, text_encoders: &[usize]) -> Node {
    let mut root = Node::root();
    let mut add = |path: String, layer: Layer| {
        root.insert("", &path.split('.').collect::<Vec<_>>(), layer);
    };
    let device = Device::flex();
    let linear = || Layer::Linear(LinearConfig::new(2, 3).init(&device));
    let conv = |taps| Layer::Conv(Conv2dConfig::new([2, 3], [taps; 2]).init(&device));
    for (path, _) in architecture.unet_modules() {
        let name = path.rsplit('.').next().expect("a name");
        let layer = match name {
            _ if name.contains("norm") => Layer::Norm(GroupNormConfig::new(1, 3).init(&device)),
            "conv_shortcut" => conv(1),
            "proj_in" | "proj_out" if architecture == Architecture::Sd => conv(1),
            _ if name.starts_with("conv") => conv(3),
            _ => linear(),
        };
        add(format!("unet.{path}"), layer);
    }
    for (encoder, blocks) in text_encoders.iter().enumerate() {
        for block in 0..*blocks {
            for layer in
                ["q_proj", "k_proj", "v_proj", "out_proj"].map(|l| format!("self_attn.{l}"))
            {
                let at = format!("text_encoders.{encoder}.text_model.encoder.layers.{block}");
                add(format!("{at}.{layer}"), linear());
            }
            for layer in ["fc1", "fc2"] {
                let at = format!("text_encoders.{encoder}.text_model.encoder.layers.{block}");
                add(format!("{at}.mlp.{layer}"), linear());
            }
        }
    }
    root
}

fn sd15() -> Node {
    pipeline(Architecture::Sd, &[12])
}

fn sdxl() -> Node {
    pipeline(Architecture::Sdxl, &[12, 32])
}

fn adapted(model: &Node, preset: &str, algorithm: &str) -> Vec<Adapted> {
    let preset = Preset::built_in(preset).unwrap();
    let injection = Injection::new("a", algorithm).preset(preset);
    inject(model, &registry(), &injection).unwrap().1.adapted
}

/// Number of adapted weights in the UNet and in the text encoders.
fn count(model: &Node, preset: &str) -> [usize; 2] {
    let adapted = adapted(model, preset, "lora");
    let unet = adapted.iter().filter(|adapted| adapted.site.path.starts_with("unet.")).count();
    [unet, adapted.len() - unet]
}

#[test]
fn presets_select_what_stable_diffusion_has() {
    // In SD 1.5: 192 in transformers, 86 in residual blocks and samplers (50 of them with a kernel of
    // 3×3), conv_in, conv_out and the two of the time embedding. In SDXL: 722, 66 (38 of 3×3), these
    // four, and two more of that class, which embed sizes.
    let (sd15, sdxl) = (sd15(), sdxl());
    for (preset, of_sd15, of_sdxl) in [
        ("full", [192 + 86 + 4, 72], [722 + 66 + 6, 72 + 192]),
        ("full-lin", [192 + 36 + 2, 72], [722 + 28 + 4, 72 + 192]),
        ("attn-mlp", [192 + 2, 72], [722 + 4, 72 + 192]),
        ("attn-only", [128, 48], [560, 48 + 128]),
        ("unet-only", [192 + 86 + 4, 0], [722 + 66 + 6, 0]),
        ("unet-transformer-only", [192 + 2, 0], [722 + 4, 0]),
        ("unet-convblock-only", [86 + 2, 0], [66 + 2, 0]),
    ] {
        assert_eq!(count(&sd15, preset), of_sd15, "{preset} of SD 1.5");
        assert_eq!(count(&sdxl, preset), of_sdxl, "{preset} of SDXL");
    }
}

#[test]
fn the_preset_for_keys_and_values_matches_at_any_depth() {
    for (model, attentions, feed_forwards) in
        [(sd15(), 32 + 12, 16 + 12), (sdxl(), 140 + 44, 70 + 44)]
    {
        let adapted = adapted(&model, "ia3", "ia3");
        let ends = |names: &[&str]| {
            let end = |a: &&Adapted| names.iter().any(|name| a.site.path.ends_with(name));
            adapted.iter().filter(end).collect::<Vec<_>>()
        };
        let on_output = ends(&[".to_k", ".to_v", ".k_proj", ".v_proj"]);
        let on_input = ends(&[".ff.net.2", ".mlp.fc2"]);
        assert_eq!([on_output.len(), on_input.len()], [2 * attentions, feed_forwards]);
        assert_eq!(adapted.len(), on_output.len() + on_input.len());
        // One factor for each of three outputs, or of two inputs.
        assert!(on_output.iter().all(|adapted| adapted.parameters == 3));
        assert!(on_input.iter().all(|adapted| adapted.parameters == 2));
    }
}

/// Few of the layers are adapted; it is the whole model that says whose names they have.
#[test]
fn adapters_of_a_model_in_memory_have_the_names_of_its_kind() {
    const SDXL: &str = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha";
    const ELSE: &str = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.alpha";
    for (architecture, name) in [(Architecture::Sdxl, SDXL), (Architecture::Sd, ELSE)] {
        let base = pipeline(architecture, &[]);
        let injection = Injection::new("a", "lora").preset(Preset::built_in("attn-only").unwrap());
        let (model, _) = inject(&base, &registry(), &injection).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let adapters = adapters(&model, "a").unwrap();
        save(&path, &sites(&base), &adapters, Dialect::Kohya, &registry(), false).unwrap();
        assert!(Checkpoint::open(&path).unwrap().info(name).is_some(), "{architecture:?}");
    }
}
