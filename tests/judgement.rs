//! What replaces $\gamma$, or nothing: every adapter with every optimizer, trained both ways.

mod judgement {
    mod course;
    mod pairs;
    mod translations;
}
