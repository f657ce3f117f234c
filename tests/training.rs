//! Training against torch, diffusers and LyCORIS.

mod training {
    mod embedding;
    mod feed;
    #[allow(dead_code)]
    #[path = "../diffusion/formula.rs"]
    mod formula;
    mod images;
    mod parts;
    #[allow(dead_code)]
    #[path = "../diffusion/reference.rs"]
    mod reference;
    mod shown;
    mod step;
}
