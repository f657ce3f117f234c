//! Named cases, each of them run by criterion, or at the request of a script that times something else
//! beside it.
//!
//! With `--serve` a program prints the names of its cases, takes lines `NAME` and `NAME step` from its
//! input and answers each with the seconds of one run.

#![allow(clippy::print_stdout)]

use std::{
    io::{self, BufRead},
    time::Instant,
};

use criterion::{Criterion, SamplingMode};

/// What is measured: with its weights and inputs made for a pass, it is run at will.
pub struct Case {
    pub name: String,
    pub new: Box<dyn Fn(Pass) -> Run>,
}

pub type Run = Box<dyn FnMut()>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pass {
    Forward,
    Step,
}

pub fn main(cases: &[Case], passes: &[Pass]) {
    if std::env::args().any(|argument| argument == "--serve") {
        return serve(cases);
    }
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases {
        let mut group = criterion.benchmark_group(&case.name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        for &pass in passes {
            // Made when the filter selects it.
            let mut run = None;
            group.bench_function(format!("{pass:?}"), |bencher| {
                let run = run.get_or_insert_with(|| (case.new)(pass));
                bencher.iter(run)
            });
        }
    }
    criterion.final_summary();
}

fn serve(cases: &[Case]) {
    println!("{}", cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join("|"));
    let mut current: Option<(String, Run)> = None;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if current.as_ref().is_none_or(|(made, _)| *made != line) {
            drop(current.take());
            let (name, pass) = match line.strip_suffix(" step") {
                Some(name) => (name, Pass::Step),
                None => (&line[..], Pass::Forward),
            };
            let case = cases.iter().find(|case| case.name == name).expect("a name of the list");
            current = Some((line.clone(), (case.new)(pass)));
        }
        let run = &mut current.as_mut().expect("made above").1;
        let start = Instant::now();
        run();
        println!("{}", start.elapsed().as_secs_f64());
    }
}
