//! The models against diffusers and transformers, and adapters on them.

mod diffusion {
    mod adapted;
    mod adapters;
    mod clip;
    mod embeddings;
    mod formula;
    mod full;
    mod half;
    mod jpeg;
    mod loras;
    mod pipeline;
    mod prompts;
    mod reference;
    mod schedulers;
    mod single;
    mod tokenizer;
    mod unet;
    mod vae;
    mod weights;
}
