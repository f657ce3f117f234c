//! The command line, run as a user runs it.

mod cli {
    mod convert;
    mod extract;
    mod inspect;
    mod merge;
    mod resize;
    mod run;
    mod theorem;
}
