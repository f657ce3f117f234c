//! The command line, run as a user runs it.

mod cli {
    mod about;
    mod convert;
    mod diffusion;
    mod extract;
    #[allow(dead_code)]
    #[path = "../diffusion/formula.rs"]
    mod formula;
    mod inspect;
    mod merge;
    #[allow(dead_code)]
    #[path = "../diffusion/reference.rs"]
    mod reference;
    mod resize;
    mod run;
    mod theorem;
    mod train;
}
