//! The models against diffusers and transformers, and adapters on them.

mod diffusion {
    mod adapters;
    mod formula;
    mod reference;
    mod unet;
    mod weights;
}
