use higanbana_core::{Condition, Kind, Tensors};

use super::{
    Law, Subject,
    measure::{deviation, differs, exceeds, values},
};

/// $write \circ read \circ write = write$ in bytes, nothing is left unread, and what is read acts
/// as what was written, whichever algorithm recognises the file.
pub(super) const LAW: Law = Law {
    name: "files",
    statement: "write, read, write gives the same bytes, and what is read acts the same",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let written = subject.trained.write(subject.site());
    let (read, unread) = subject
        .read(subject.kind, subject.site(), &written)
        .map_err(|error| format!("its own file cannot be read: {error}"))?;
    if !unread.is_empty() {
        return Err(format!("its own file holds what it does not read: {}", unread.join(", ")));
    }
    if let Some(key) = differs(&written, &read.write(subject.site())) {
        return Err(format!("`{key}` is not the same after writing, reading and writing"));
    }
    let condition = &subject.trial.condition;
    acts_the_same(subject, subject.kind, &written, condition)?;
    let found = subject.registry.detect(subject.site().kind, &written);
    let found = found.ok_or("no algorithm recognises its file")?;
    // Another algorithm need not know what a condition means to this one.
    acts_the_same(subject, found, &written, &Condition::default())
}

fn acts_the_same(
    subject: &Subject,
    kind: &Kind,
    tensors: &Tensors,
    condition: &Condition,
) -> Result<(), String> {
    let (mut read, _) = subject
        .read(kind, subject.site(), tensors)
        .map_err(|error| format!("its file is taken for that of {}: {error}", kind.name()))?;
    let mut written = subject.trained.clone();
    read.condition(condition);
    written.condition(condition);
    let error = deviation(&values(&subject.update(&read)), &values(&subject.update(&written)));
    // Numbers beside the tensors, such as alpha, are f32 in every file.
    if exceeds(error, subject.tolerance().max(1e-6)) {
        return Err(format!("read back by {}, the update departs by {error:e}", kind.name()));
    }
    Ok(())
}
