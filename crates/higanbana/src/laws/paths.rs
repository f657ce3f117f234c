use burn::module::Module;
use higanbana_core::{Call, DynAdapter, Features, Op, trained};

use super::{
    Law, Subject,
    measure::{difference, exceeds, flat, norm, values},
};

/// $op(x, W_0) + added = forward = op(x, W(\mu))$, and so are their derivatives by $x$ and by every
/// trained tensor, for a new adapter and for a trained one.
pub(super) const LAW: Law = Law {
    name: "paths",
    statement: "the shortcut equals the definition, in value and in every gradient",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let Some(op) = subject.trial.op() else { return Ok(()) };
    for (state, adapter) in [("new", &subject.fresh), ("trained", &subject.trained)] {
        let defined = Response::of(subject, adapter, &op, |adapter, call| {
            let update = adapter.update_at(call.site, call.w0, call.strength);
            Some(call.apply(call.w0.clone() + update))
        });
        let defined = defined.expect("there is always the definition");
        let added = Response::of(subject, adapter, &op, |adapter, call| {
            let y0 = call.apply(call.w0.clone());
            adapter.added(call, &y0).map(|added| y0 + added)
        });
        let forward = Response::of(subject, adapter, &op, |adapter, call| adapter.forward(call));
        let shortcut = added.is_some() || forward.is_some();
        if shortcut != adapter.cost(subject.site(), op.groups()).is_some() {
            return Err("a shortcut has a cost, and only a shortcut".into());
        }
        for (path, response) in [("added", added), ("forward", forward)] {
            let Some(response) = response else { continue };
            response
                .equals(&defined, subject.tolerance())
                .map_err(|reason| format!("`{path}` of a {state} adapter: {reason}"))?;
        }
    }
    Ok(())
}

/// The output of a path, and the gradient of a random sum of its entries.
struct Response {
    value: Vec<f64>,
    gradients: Vec<(String, Vec<f64>)>,
}

impl Response {
    fn of(
        subject: &Subject,
        adapter: &DynAdapter,
        op: &Op,
        path: impl Fn(&DynAdapter, &Call) -> Option<Features>,
    ) -> Option<Self> {
        let adapter = adapter.clone().train();
        let w0 = subject.w0.clone().autodiff();
        let x = match subject.features(op) {
            Features::Rows { x, batch } => Features::Rows { x: x.autodiff().require_grad(), batch },
            Features::Maps(x) => Features::Maps(x.autodiff().require_grad()),
        };
        let y = flat(&path(&adapter, &subject.call(&w0, &x, op))?);
        let weights = subject.normal("cotangent", y.dims()).autodiff();
        let grads = (y.clone() * weights).sum().backward();
        let by_x = match &x {
            Features::Rows { x, .. } => x.grad(&grads).map(|gradient| values(&gradient)),
            Features::Maps(x) => x.grad(&grads).map(|gradient| values(&gradient)),
        };
        let mut gradients = trained::gradients(&adapter, &grads);
        gradients.push(("the input".into(), by_x.unwrap_or_default()));
        Some(Self { value: values(&y), gradients })
    }

    fn equals(&self, defined: &Self, tolerance: f64) -> Result<(), String> {
        let error = difference(&self.value, &defined.value);
        if exceeds(error, tolerance * norm(&defined.value)) {
            let error = error / norm(&defined.value);
            return Err(format!("the value departs from the definition by {error:e}"));
        }
        // Sums that cancel have no relative error of their own: the largest gradient is the unit.
        let largest = defined.gradients.iter().map(|(_, g)| norm(g)).fold(0.0, f64::max);
        for ((name, gradient), (_, expected)) in self.gradients.iter().zip(&defined.gradients) {
            let error = difference(gradient, expected);
            if exceeds(error, tolerance * largest) {
                return Err(format!(
                    "the gradient by {name} departs by {error:e}, where the largest is {largest:e}"
                ));
            }
        }
        Ok(())
    }
}
