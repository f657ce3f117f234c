//! Single files: the same bytes there and back, and the published models' names.

use std::{collections::BTreeSet, path::Path};

use burn::{
    module::Module,
    tensor::{Device, TensorData},
};
use higanbana_diffusion::{
    AutoencoderKL, CLIPTextModel, ClipConfig, UNet2DConditionModel, UNetConfig, VaeConfig, Weights,
    config::Fields,
    pipeline::Published,
    text::{END, Tokenizer},
    weights::{Family, How, Part, Saving, Tensor, save_single, table},
};
use higanbana_io::{Checkpoint, writer::write_tensors};

use super::{formula::write_weights, reference::folder};

/// A UNet as small as can be with the modules of a published one.
fn unet(family: Family) -> UNet2DConditionModel {
    let shape = match family {
        Family::Sdxl => {
            r#""block_out_channels": [8, 8, 8], "transformer_layers_per_block": [1, 2, 10],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "addition_embed_type": "text_time", "addition_time_embed_dim": 2,
            "projection_class_embeddings_input_dim": 20, "use_linear_projection": true"#
        }
        _ => r#""block_out_channels": [8, 16, 16, 16]"#,
    };
    let text = format!(
        r#"{{{shape}, "attention_head_dim": 2, "cross_attention_dim": 6, "norm_num_groups": 4}}"#
    );
    let fields = Fields::parse(Path::new("unet"), &text).unwrap();
    UNet2DConditionModel::new(&UNetConfig::from_fields(fields).unwrap(), &Device::default())
}

fn clip(case: &str) -> CLIPTextModel {
    let config = ClipConfig::read(&folder(case).join("config.json")).unwrap();
    let projection = case.ends_with("projection").then_some(12);
    CLIPTextModel::new(&ClipConfig { projection, ..config }, &Device::default())
}

fn written(model: &impl Module, file: &Path) -> (Weights, Vec<Tensor>) {
    write_weights(model, file);
    (Weights::file(file).unwrap(), table(model))
}

#[test]
fn a_single_file_holds_the_same_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    let vae = AutoencoderKL::new(
        &VaeConfig::read(&folder("vae").join("config.json")).unwrap(),
        &Device::default(),
    );
    for (family, encoders) in [
        (Family::Sd1, vec!["clip_quick"]),
        (Family::Sd2, vec!["clip_gelu"]),
        (Family::Sdxl, vec!["clip_quick", "clip_projection"]),
    ] {
        let mut parts = vec![
            (Part::Unet, written(&unet(family), &path("unet"))),
            (Part::Vae, written(&vae, &path("vae"))),
        ];
        for (part, case) in [Part::TextEncoder, Part::TextEncoder2].into_iter().zip(encoders) {
            parts.push((part, written(&clip(case), &path(case))));
        }
        assert_eq!(parts.iter().map(|(part, _)| *part).collect::<Vec<_>>(), family.parts());
        let single = path("single");
        let weights: Vec<_> = parts.iter().map(|(part, (weights, _))| (*part, weights)).collect();
        let saving = Saving { overwrite: true, ..Saving::SAME };
        save_single(family, &weights, &single, &saving).unwrap();
        let file = Checkpoint::open(&single).unwrap();
        let mut used = BTreeSet::new();
        for (part, (before, tensors)) in &parts {
            used.extend(family.places(*part, tensors, &single).unwrap().into_iter().map(|p| p.0));
            let after = family.weights(*part, &single, tensors).unwrap();
            assert_eq!(after.keys().count(), tensors.len());
            for key in before.keys() {
                assert_eq!(before.read(key).unwrap(), after.read(key).unwrap(), "{key}");
                assert_eq!(before.shape(key), after.shape(key), "{key}");
            }
            // And as a file of their own again.
            after.save(&path("again"), &saving).unwrap();
            let again = Weights::file(&path("again")).unwrap();
            assert!(before.keys().eq(again.keys()));
            assert!(before.keys().all(|k| before.read(k).unwrap() == again.read(k).unwrap()));
        }
        assert_eq!(used, file.names().iter().cloned().collect());
    }
}

#[test]
fn every_tensor_of_the_published_models_has_a_name() {
    let device = Device::default();
    for (family, keys) in [
        (Family::Sd1, 686 + 248 + 196),
        (Family::Sd2, 686 + 248 + 372 - 23 * 4),
        (Family::Sdxl, 1680 + 248 + 196 + 517 - 32 * 4),
    ] {
        let published = Published::of(family);
        let mut models = vec![
            table(&UNet2DConditionModel::new(&published.unet, &device)),
            table(&AutoencoderKL::new(&published.vae, &device)),
        ];
        models.extend(published.encoders.iter().map(|c| table(&CLIPTextModel::new(c, &device))));
        let mut names = BTreeSet::new();
        for (part, tensors) in family.parts().iter().zip(&models) {
            for (name, how) in family.places(*part, tensors, Path::new("file")).unwrap() {
                let new = names.insert(name.clone());
                assert!(new || matches!(how, How::Rows { .. }), "{name}");
            }
        }
        assert_eq!(names.len(), keys, "{family:?}");
        for known in match family {
            Family::Sd1 => [
                "first_stage_model.decoder.up.3.upsample.conv.weight",
                "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc2.bias",
            ],
            Family::Sd2 => [
                "first_stage_model.encoder.mid.attn_1.proj_out.weight",
                "cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight",
            ],
            Family::Sdxl => [
                "conditioner.embedders.1.model.text_projection",
                "model.diffusion_model.middle_block.1.transformer_blocks.9.ff.net.0.proj.weight",
            ],
        } {
            assert!(names.contains(known), "{known}");
        }
    }
}

#[test]
fn a_family_is_told_by_its_keys() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("model.safetensors");
    let told = |tensors: &[(&str, Vec<usize>)]| {
        let tensors = tensors
            .iter()
            .map(|(name, shape)| (name.to_string(), TensorData::zeros::<f32, _>(shape.clone())));
        write_tensors(&file, &tensors.collect(), &Default::default(), true).unwrap();
        Family::of(&Checkpoint::open(&file).unwrap()).map_err(|error| error.to_string())
    };
    let first =
        |channels| ("model.diffusion_model.input_blocks.0.0.weight", vec![2, channels, 1, 1]);
    let to_k = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    let second = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias";
    let refiner = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias";
    assert_eq!(told(&[first(4), (to_k, vec![2, 768])]), Ok(Family::Sd1));
    assert_eq!(told(&[first(4), (to_k, vec![2, 1024])]), Ok(Family::Sd2));
    assert_eq!(told(&[first(4), (second, vec![2])]), Ok(Family::Sdxl));
    for (tensors, expected) in [
        (vec![(to_k, vec![2, 768])], "is no model file of Stable Diffusion"),
        (vec![first(9), (to_k, vec![2, 768])], "is a model for inpainting or editing"),
        (vec![first(4), (refiner, vec![2])], "is SDXL's refiner"),
        (vec![first(4), (to_k, vec![2, 5])], "is none of SD 1, SD 2 and SDXL"),
    ] {
        let error = told(&tensors).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_built_in_tokenizer_is_clips() {
    let tokenizer = Tokenizer::built_in(END).unwrap();
    assert_eq!((tokenizer.begin(), tokenizer.end(), tokenizer.pad()), (49406, 49407, 49407));
    // Known tokens of OpenAI's CLIP.
    assert_eq!(tokenizer.tokens("a photo of a cat").unwrap(), [320, 1125, 539, 320, 2368]);
    assert_eq!(Tokenizer::built_in("!").unwrap().pad(), 0);
}
