//! The models against diffusers and transformers, and adapters on them.

mod diffusion {
    mod adapters;
    mod clip;
    mod formula;
    mod reference;
    mod schedulers;
    mod unet;
    mod vae;
    mod weights;
}
