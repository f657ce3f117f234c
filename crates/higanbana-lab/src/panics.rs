//! Work of others, which may panic: the message in place of the panic.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Does work; a panic becomes `panicked:` and its message.
///
/// # Errors
/// When it panics.
pub fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("panicked: {}", message(&*panic)))
}

/// What a panic says, in one line.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a message").lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
