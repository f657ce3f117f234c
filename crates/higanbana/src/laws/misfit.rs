use higanbana_core::{Parts, Site};

use super::{Law, Subject};

/// Files come from anywhere. One is read for a layer that it is not for, and to see what is missing of it
/// where no layer is known: either gives an adapter or an error.
pub(super) const LAW: Law = Law {
    name: "misfit",
    statement: "reading a file for a layer of one value does not panic",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let tensors = subject.trained.write(subject.site());
    let site = Site::new("layer", subject.site().kind, [1, 1]);
    let parts = || Parts::new("layer", &tensors, &subject.w0.device(), subject.w0.dtype());
    for parts in [parts(), parts().probing()] {
        // A panic is a violation.
        let _ = subject.kind.read(&site, &parts);
    }
    Ok(())
}
