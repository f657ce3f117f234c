use super::run::Desk;

#[test]
fn both_trainings_are_equal_bit_for_bit() {
    let json = Desk::new()
        .run("theorem --adapter loha --optimizer sgd --gamma 0.00390625 --steps 30 --json")
        .json();
    assert_eq!(json["degree"], 4);
    assert_eq!(json["c"], 2);
    assert_eq!(json["deviation"], 0.0);
    assert_eq!(json["bit_exact"], true);
    for control in ["wrong_c", "unscaled_decay", "unscaled_threshold", "global_clip"] {
        assert!(json["controls"][control].as_f64().unwrap() > 1e-3, "{json}");
    }
    assert_eq!(json["not_applicable"]["unscaled_eps"], "there is no ε");
}

#[test]
fn the_unet_has_a_gamma_for_every_layer() {
    let command = "theorem --net unet --adapter lora --optimizer sgd --steps 2 --json";
    let json = Desk::new().run(command).json();
    assert_eq!((&json["net"], &json["steps"]), (&"unet".into(), &2.into()));
    assert_eq!((&json["deviation"], &json["bit_exact"]), (&0.0.into(), &true.into()));
}

#[test]
fn where_rounding_grows_nothing_is_promised() {
    let desk = Desk::new();
    let command = "theorem --adapter ia3 --optimizer sgd --gamma 0.3 --json --steps";
    let json = desk.run(&format!("{command} 20")).json();
    assert_eq!((&json["bound"], &json["unbounded"]), (&1e-8.into(), &().into()));
    let json = desk.run(&format!("{command} 21")).json();
    assert!(json["bound"].is_null() && json["unbounded"].is_string(), "{json}");
}

#[test]
fn a_line_for_each_optimizer() {
    let out = Desk::new().run("theorem --all --adapter ia3 --steps 3 --json").succeeds();
    let names: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|cell| cell["optimizer"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(names.len(), 19);
    assert_eq!(&names[..3], ["sgd", "momentum", "nesterov"]);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let desk = Desk::new();
    let with = |gamma: &str| format!("theorem --adapter lora --optimizer sgd --gamma {gamma}");
    assert_eq!(desk.run(&with("0")).fails(), "gamma is 0: give a positive number");
    assert_eq!(desk.run(&with("-2")).fails(), "gamma is -2: give a positive number");
    assert_eq!(desk.run(&with("NaN")).fails(), "gamma is NaN: give a positive number");
    assert!(desk.run(&with("1")).fails().starts_with("gamma is 1: there is nothing to compare"));
    let error = desk.run(&(with("1e-20") + " --dtype f32")).fails();
    assert!(error.starts_with("gamma 1e-20 is out of range for f32"), "{error}");
    let error = desk.run("theorem --adapter lorra --optimizer sgd").fails();
    assert!(error.starts_with("unknown adapter `lorra`: there are lora, "), "{error}");
    let error = desk.run("theorem --adapter lora --optimizer adanw").fails();
    assert!(error.starts_with("unknown optimizer `adanw`: there are adamw, "), "{error}");
}

#[test]
fn devices_compute_what_the_cpu_computes_in_double_precision() {
    let json = Desk::new().run("devices --check --json").json();
    let lines = json.as_array().unwrap();
    for dtype in ["f64", "f32"] {
        let operation = |name| {
            let is = |line: &&serde_json::Value| {
                line["dtype"] == dtype && line["operation"] == name && line["device"] == "flex"
            };
            lines.iter().find(is).unwrap()
        };
        for name in ["conv grouped", "attention", "hadamard_linear", "training"] {
            let line = operation(name);
            assert_eq!(line["within_rounding"], true, "{line}");
            assert_eq!(line["gradient"] == 0.0, dtype == "f64", "{line}");
        }
    }
}
