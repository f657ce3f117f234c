//! A run owns its randomness: what it draws from Burn's generator is the same beside other runs, or the run is found.
//!
//! One test in a process of its own, since all threads of a process share the generator.

use std::{
    thread::{scope, sleep},
    time::Duration,
};

use burn::tensor::{Distribution, Tensor};
use higanbana::{
    io::run::Run,
    lab::{
        chapter::{Chapter, Record, perform, unsteady},
        experiment::{Experiment, Failure, Lab, Progress},
        study::Study,
        subject,
        sweep::Plan,
    },
};
use serde::{Deserialize, Serialize};
use tempfile::tempdir;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    seed: u64,
}

/// Draws a number: from a stream of its own, from Burn's generator, or from that after it has seeded it.
struct Draws<const SIDE_BY_SIDE: bool, const FROM: char>;

impl<const SIDE_BY_SIDE: bool, const FROM: char> Experiment for Draws<SIDE_BY_SIDE, FROM> {
    const NAME: &'static str = "draws";
    const TITLE: &'static str = "A number";
    type Parameters = Parameters;
    type Outcome = f64;

    fn run(p: &Parameters, lab: &Lab, _: &mut Run, _: Progress) -> Result<f64, Failure> {
        if FROM == 's' {
            lab.device.seed(p.seed);
        }
        // Others have time to come between.
        sleep(Duration::from_millis(20));
        let drawn = match FROM {
            'o' => subject::stream("draws", &lab.device, p.seed).normal([1, 1], 1.0),
            _ => Tensor::<2>::random([1, 1], Distribution::Default, &lab.device),
        };
        Ok(drawn.into_data().iter::<f64>().sum())
    }
}

impl<const SIDE_BY_SIDE: bool, const FROM: char> Chapter for Draws<SIDE_BY_SIDE, FROM> {
    const SIDE_BY_SIDE: bool = SIDE_BY_SIDE;

    fn plan(_: &Lab, _: bool) -> Result<Vec<Parameters>, Failure> {
        Ok((0..6).map(|seed| Parameters { seed }).collect())
    }

    fn study(_: &[Record<Self>]) -> Study {
        Study::default()
    }
}

fn lab<C: Chapter>() -> (Lab, Plan) {
    let mut lab = Lab::new(Default::default());
    lab.experiments = lab.experiments.with::<C>();
    let plan = Plan::of::<C>(&C::plan(&lab, false).unwrap()).unwrap();
    (lab, plan)
}

fn unsteady_ones<C: Chapter>() -> usize {
    let (folder, (lab, plan)) = (tempdir().unwrap(), lab::<C>());
    unsteady::<C>(&lab, &plan, folder.path()).len()
}

#[test]
fn runs_give_the_same_beside_others_or_are_found() {
    assert_eq!(unsteady_ones::<Draws<false, 'g'>>(), 0);
    assert_eq!(unsteady_ones::<Draws<false, 's'>>(), 0);
    assert_eq!(unsteady_ones::<Draws<true, 'o'>>(), 0);
    assert!(unsteady_ones::<Draws<true, 's'>>() > 0);
    assert!(unsteady_ones::<Draws<true, 'g'>>() > 0);

    // Chapters at once have the generator in turn.
    let numbers = || {
        let (folder, (lab, plan)) = (tempdir().unwrap(), lab::<Draws<false, 's'>>());
        perform::<Draws<false, 's'>>(&lab, &plan, folder.path(), |_, _| ()).unwrap().results
    };
    let expected = numbers();
    let both =
        scope(|scope| [scope.spawn(numbers), scope.spawn(numbers)].map(|it| it.join().unwrap()));
    assert_eq!(both, [expected.clone(), expected]);
}
