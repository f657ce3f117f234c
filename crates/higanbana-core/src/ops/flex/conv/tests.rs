//! Both ways, the panels in every width of vectors, against sums in `f64`, and every number of threads.

use burn::tensor::{Shape, ops::ConvOptions};
use pulp::Arch;

use super::{Flexible, Plan, numbers, tensor};

/// What this CPU has, and no vectors.
fn all() -> Vec<Arch> {
    let mut all = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    let best = Arch::new();
    if all.iter().all(|arch| std::mem::discriminant(arch) != std::mem::discriminant(&best)) {
        all.push(best);
    }
    all
}

/// Shapes of `x` and `weight`, strides, padding, dilation.
type Case = ([usize; 4], [usize; 4], [usize; 2], [(usize, usize); 2], [usize; 2]);

const SAME: [(usize, usize); 2] = [(1, 1); 2];

const CASES: [Case; 12] = [
    // As in a small UNet, at all its sizes.
    ([2, 16, 32, 32], [32, 16, 3, 3], [1, 1], SAME, [1, 1]),
    ([3, 48, 16, 16], [24, 48, 3, 3], [1, 1], SAME, [1, 1]),
    ([5, 40, 8, 8], [32, 40, 3, 3], [1, 1], SAME, [1, 1]),
    ([2, 16, 16, 16], [16, 16, 3, 3], [2, 2], SAME, [1, 1]),
    ([2, 20, 8, 8], [12, 20, 1, 1], [1, 1], [(0, 0); 2], [1, 1]),
    ([2, 3, 12, 12], [16, 3, 3, 3], [1, 1], SAME, [1, 1]),
    // Channels and pixels that fill no vector.
    ([3, 7, 5, 9], [13, 7, 3, 3], [1, 1], SAME, [1, 1]),
    ([1, 5, 1, 1], [3, 5, 3, 3], [1, 1], SAME, [1, 1]),
    ([1, 1, 1, 7], [1, 1, 1, 1], [1, 1], [(0, 0); 2], [1, 1]),
    // Strides that leave pixels out, padding on one side and more than the kernel covers, dilation.
    ([2, 18, 9, 6], [6, 18, 2, 4], [1, 3], [(2, 0), (3, 5)], [3, 2]),
    ([1, 4, 10, 11], [5, 4, 3, 3], [3, 2], [(0, 1), (0, 1)], [1, 1]),
    ([2, 3, 6, 6], [4, 3, 1, 1], [2, 2], [(0, 1), (1, 0)], [1, 1]),
];

/// Numbers from -1 to 1 without a pattern.
fn some(shape: &[usize], seed: u64) -> Vec<f32> {
    let mixed = |i: u64| (i + (seed << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let number = |i| (mixed(mixed(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..shape.iter().product::<usize>() as u64).map(number).collect()
}

fn plan((x, weight, stride, padding, dilation): &Case) -> Plan {
    let options = ConvOptions::new_with_padding(*stride, *padding, *dilation, 1);
    Plan::new(&Shape::from(*x), &Shape::from(*weight), &options)
}

/// Each product of the convolution: indices in the result, in `x` and in the weight.
fn products(plan: &Plan, mut each: impl FnMut(usize, usize, usize)) {
    let ([h, w], [oh, ow], [kh, kw]) = (plan.map, plan.result, plan.kernel);
    let place = |axis: usize, pixel: usize, tap: usize| {
        let at = pixel * plan.options.stride[axis] + tap * plan.options.dilation[axis];
        at.checked_sub(plan.options.padding[axis].0).filter(|at| *at < plan.map[axis])
    };
    for n in 0..plan.batch {
        for (o, c) in (0..plan.output).flat_map(|o| (0..plan.input).map(move |c| (o, c))) {
            for (oy, ky) in (0..oh).flat_map(|y| (0..kh).map(move |k| (y, k))) {
                let Some(y) = place(0, oy, ky) else { continue };
                for (ox, kx) in (0..ow).flat_map(|x| (0..kw).map(move |k| (x, k))) {
                    let Some(x) = place(1, ox, kx) else { continue };
                    let result = ((n * plan.output + o) * oh + oy) * ow + ox;
                    let weight = ((o * plan.input + c) * kh + ky) * kw + kx;
                    each(result, ((n * plan.input + c) * h + y) * w + x, weight);
                }
            }
        }
    }
}

/// Value and gradients, from panels for a CPU, or else from columns.
fn found(plan: &Plan, arch: Option<Arch>, [x, weight, gradient]: [Flexible; 3]) -> [Vec<f32>; 3] {
    let found = match arch {
        Some(arch) => [
            plan.direct(arch, x.clone(), weight.clone()),
            plan.direct_x_backward(arch, weight, gradient.clone()),
            plan.direct_weight_backward(arch, x, gradient),
        ],
        None => [
            plan.by_columns(x.clone(), weight.clone()),
            plan.x_backward_by_columns(weight, gradient.clone()),
            plan.weight_backward_by_columns(x, gradient),
        ],
    };
    found.map(|found| numbers(&found).to_vec())
}

fn inputs(case: &Case) -> (Plan, [Flexible; 3]) {
    let plan = plan(case);
    let [h, w] = plan.result;
    let shapes = [case.0, case.1, [plan.batch, plan.output, h, w]];
    let mut seed = 0;
    let inputs = shapes.map(|shape| {
        seed += 1;
        tensor(some(&shape, seed), shape)
    });
    (plan, inputs)
}

#[test]
fn panels_and_columns_give_the_sums_in_every_width_of_vectors() {
    for case in &CASES {
        let (plan, inputs) = inputs(case);
        let [x, weight, gradient] = inputs.each_ref().map(numbers);
        let mut exact = [gradient.len(), x.len(), weight.len()].map(|len| vec![0f64; len]);
        products(&plan, |result, at, tap| {
            let [x, weight, gradient] = [x[at], weight[tap], gradient[result]].map(f64::from);
            exact[0][result] += x * weight;
            exact[1][at] += gradient * weight;
            exact[2][tap] += gradient * x;
        });
        for arch in all().into_iter().map(Some).chain([None]) {
            let found = found(&plan, arch, inputs.clone());
            for (index, (found, exact)) in found.iter().zip(&exact).enumerate() {
                assert_eq!(found.len(), exact.len());
                let largest = exact.iter().fold(0f64, |max, x| max.max(x.abs()));
                for (found, exact) in found.iter().zip(exact) {
                    let off = (f64::from(*found) - exact).abs();
                    assert!(off <= 1e-6 * largest, "{arch:?} {case:?} {index}: off by {off:.1e}");
                }
            }
        }
    }
}

#[test]
fn threads_do_not_show_in_the_result() {
    let bits = |arrays: [Vec<f32>; 3]| arrays.map(|it| it.into_iter().map(f32::to_bits).collect());
    for case in &CASES[..3] {
        let (plan, inputs) = inputs(case);
        let with = |threads: usize| -> [Vec<u32>; 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(found(&plan, Some(Arch::new()), inputs.clone())))
        };
        let one = with(1);
        assert!([2, 3, 7].into_iter().all(|threads| with(threads) == one), "{case:?}");
    }
}
