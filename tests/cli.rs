//! The command line, run as a user runs it.

mod cli {
    mod inspect;
    mod merge;
    mod run;
}
