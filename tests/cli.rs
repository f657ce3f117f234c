//! The command line, run as a user runs it.

mod cli {
    mod about;
    mod begins;
    mod broken;
    mod cells;
    mod check;
    mod combine;
    mod convert;
    mod data;
    mod diffusion;
    mod embeddings;
    mod endings;
    mod export;
    mod extract;
    mod foreign;
    mod formats;
    #[allow(dead_code)]
    #[path = "../diffusion/formula.rs"]
    mod formula;
    mod inspect;
    mod merge;
    mod names;
    #[cfg(unix)]
    mod paths;
    mod rank;
    #[allow(dead_code)]
    #[path = "../diffusion/reference.rs"]
    mod reference;
    mod resize;
    mod run;
    mod sampling;
    mod scaling;
    mod scratch;
    mod stops;
    mod streams;
    mod strengths;
    mod sweep;
    mod theorem;
    mod train;
    mod trained;
    mod trainers;
    mod ways;
}
