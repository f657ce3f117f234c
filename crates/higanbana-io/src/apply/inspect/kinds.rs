//! What files without an adapter are, told by keys that such files have.

/// A title, and parts of names that a file with it has all of. One file may have several.
type Kind = (&'static str, &'static [&'static str]);

#[rustfmt::skip]
const KINDS: [Kind; 20] = [
    ("UNet of the original code",       &["input_blocks.0.0.", "middle_block."]),
    ("UNet of diffusers",               &["down_blocks.0.", "up_blocks.0.", "time_embedding.linear_1."]),
    ("autoencoder (VAE)",               &["encoder.conv_in.weight", "decoder.conv_in.weight"]),
    ("text encoder of CLIP",            &["encoder.layers.0.self_attn.q_proj", "embeddings.token_embedding"]),
    ("text encoder of OpenCLIP",        &["transformer.resblocks.0.attn.in_proj_weight", "token_embedding"]),
    ("text encoder of T5",              &["encoder.block.0.layer.0.SelfAttention"]),
    ("image encoder of CLIP",           &["vision_model.encoder.layers.0."]),
    ("transformer of Flux",             &["double_blocks.0.img_attn"]),
    ("transformer of Flux in diffusers", &["single_transformer_blocks.0.", "transformer_blocks.0."]),
    ("transformer of Stable Diffusion 3", &["joint_blocks.0."]),
    ("ControlNet",                      &["zero_convs.0."]),
    ("ControlNet of diffusers",         &["controlnet_down_blocks.0."]),
    ("T2I adapter",                     &["body.0.", "conv_in.weight", "block1."]),
    ("IP-Adapter",                      &["image_proj.", "ip_adapter."]),
    ("motion module of AnimateDiff",    &["motion_modules.0."]),
    ("hypernetwork of the web UI",      &["linear.0.weight", "320."]),
    ("upscaler (ESRGAN)",               &["conv_first.weight", "conv_last.weight"]),
    ("upscaler (ESRGAN, old)",          &["model.0.weight", "model.1.sub.0."]),
    ("model quantised by bitsandbytes", &["quant_state.bitsandbytes"]),
    ("state of an optimizer",           &["exp_avg_sq"]),
];

/// What a file of these keys looks like.
pub(super) fn of(keys: &[String]) -> Vec<&'static str> {
    let has = |part: &&str| keys.iter().any(|key| key.contains(*part));
    KINDS.iter().filter(|(_, parts)| parts.iter().all(has)).map(|(title, _)| *title).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_those_of_the_keys() {
        for (keys, titles) in [
            (
                &["model.diffusion_model.input_blocks.0.0.weight", "middle_block.0.x"][..],
                &["UNet of the original code"][..],
            ),
            (&["control_model.zero_convs.0.0.weight"], &["ControlNet"]),
            (&["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], &["IP-Adapter"]),
            (&["a.weight"], &[]),
        ] {
            let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
            assert_eq!(of(&keys), titles);
        }
    }
}
