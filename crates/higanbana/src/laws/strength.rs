use super::{
    Law, Subject,
    measure::{difference, exceeds, norm, values},
};

/// $W(0) = W_0$, and $W(\mu)$ is the polynomial of the stated degree $d$ through its values at
/// $0, 1/d, \dots, 1$, between and beyond them; no smaller degree does.
pub(super) const LAW: Law = Law {
    name: "strength",
    statement: "strength 0 is off, and the weight is a polynomial in it, of the stated degree",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let at = |strength| values(&subject.trained.update_at(subject.site(), &subject.w0, strength));
    let off = norm(&at(0.0));
    if off != 0.0 {
        return Err(format!("at strength 0 the update has norm {off:e}"));
    }
    let degree = subject.trained.strength_degree();
    let strength = subject.trial.strength;
    let error = extrapolate(degree, strength, at);
    if exceeds(error, subject.tolerance()) {
        return Err(format!(
            "at strength {strength} the update departs from the polynomial of degree {degree} \
             through its values in [0, 1] by {error:e}"
        ));
    }
    // At 3, so that no trial happens to lie on a node.
    let smaller = degree.saturating_sub(1);
    if degree > 1 && extrapolate(smaller, 3.0, at) < subject.epsilon().sqrt() {
        return Err(format!("the degree is said to be {degree}, but {smaller} is enough"));
    }
    Ok(())
}

/// How far the value at `strength` is from the polynomial of `degree` through the values at
/// equidistant nodes in [0, 1], relative to the size of the sum that gives it.
fn extrapolate(degree: usize, strength: f64, at: impl Fn(f64) -> Vec<f64>) -> f64 {
    let node = |j: usize| j as f64 / degree.max(1) as f64;
    let actual = at(strength);
    let (mut expected, mut size) = (vec![0.0; actual.len()], norm(&actual));
    for j in 0..=degree {
        let others = (0..=degree).filter(|&i| i != j);
        let lagrange: f64 = others.map(|i| (strength - node(i)) / (node(j) - node(i))).product();
        let value = at(node(j));
        size += lagrange.abs() * norm(&value);
        expected.iter_mut().zip(value).for_each(|(sum, value)| *sum += lagrange * value);
    }
    let error = difference(&actual, &expected);
    if error == 0.0 { 0.0 } else { error / size }
}
