use higanbana_core::{DynAdapter, Site, SiteKind};

use super::{
    Law, Subject,
    measure::{deviation, exceeds, values},
};

/// The same tensors on a linear layer `[out, in]` and on a convolution `[out, in, 1, ...]` make the
/// same update.
pub(super) const LAW: Law = Law {
    name: "pointwise",
    statement: "a linear layer and a convolution with one tap are the same",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let site = subject.site();
    if site.kind != SiteKind::Linear {
        return Ok(());
    }
    let axes = [(SiteKind::Conv1d, 1), (SiteKind::Conv2d, 2), (SiteKind::Conv3d, 3)];
    for (kind, axes) in axes.iter().filter(|(kind, _)| subject.kind.sites().contains(kind)) {
        let mut shape = site.shape.clone();
        shape.extend(vec![1; *axes]);
        let convolution = Site::new(site.path.clone(), *kind, shape);
        let there = carried(subject, &subject.trained, site, &convolution)?;
        let back = carried(subject, &there, &convolution, site)?;
        let expected = values(&subject.update(&subject.trained));
        for (adapter, at) in [(there, &convolution), (back, site)] {
            let update = adapter.update_at(at, &subject.w0, subject.trial.strength);
            let error = deviation(&values(&update), &expected);
            // Numbers beside the tensors, such as alpha, are f32 in every file.
            if exceeds(error, subject.tolerance().max(1e-6)) {
                return Err(format!("on a {kind:?} of one tap the update departs by {error:e}"));
            }
        }
    }
    Ok(())
}

fn carried(
    subject: &Subject,
    adapter: &DynAdapter,
    from: &Site,
    to: &Site,
) -> Result<DynAdapter, String> {
    let read = subject.read(subject.kind, to, &adapter.write(from));
    read.map(|(adapter, _)| adapter).map_err(|error| {
        format!(
            "the file of a {} cannot be read on a {}: {error}",
            from.kind.name(),
            to.kind.name()
        )
    })
}
