//! Training against torch, diffusers and LyCORIS.

mod training {
    #[allow(dead_code)]
    #[path = "../diffusion/formula.rs"]
    mod formula;
    mod feed;
    mod parts;
    #[allow(dead_code)]
    #[path = "../diffusion/reference.rs"]
    mod reference;
    mod step;
}
