use serde_json::{Value, json};

use super::run::Desk;

#[test]
fn two_alphas_that_train_alike() {
    let desk = Desk::new();
    let command = "scaling --adapter loha --from-alpha 16 --to-alpha 1 --rank 8 --optimizer";
    let json = desk.run(&format!("{command} adamw --json")).json();
    let factors = json["factors"].as_array().unwrap();
    assert_eq!(factors.len(), 4);
    for block in factors {
        assert_eq!((&block["initial"], &block["learning_rate"]), (&2.0.into(), &2.0.into()));
        assert_eq!(block["hyperparameters"]["eps"], 0.5);
    }
    let json = desk.run(&format!("{command} sgd --json")).json();
    assert_eq!(json["factors"][0]["learning_rate"], 4.0);
    let out = desk.run(&format!("{command} adamw")).succeeds();
    assert!(out.contains("hada_w1_a             × 2            × 2"), "{out}");
    let error = desk.run(&format!("{command} adamw --lora-plus 16")).fails();
    assert_eq!(error, "LoRA+ is about two factors, this adapter has degree 4");
    let error =
        desk.run("scaling --adapter full --from-alpha 2 --to-alpha 1 --rank 8 --optimizer sgd");
    assert!(error.fails().starts_with("full has no alpha"));
}

#[test]
fn an_alpha_that_is_ignored_changes_nothing() {
    let desk = Desk::new();
    let command =
        "scaling --adapter lokr:full_matrix --from-alpha 16 --to-alpha 1 --rank 8 --optimizer sgd";
    let out = desk.run(command).succeeds();
    assert!(out.starts_with("lokr:full_matrix ignores alpha"), "{out}");
    let json = desk.run(&format!("{command} --json")).json();
    assert_eq!(json["alpha_ignored"], true);
    assert_eq!(json["factors"][0]["learning_rate"], 1.0);
    let json = desk.run(&format!("{} --json", command.replace(":full_matrix", ""))).json();
    assert_eq!(json["alpha_ignored"], false);
}

fn scaling(adapter: &str, optimizer: &str) -> String {
    format!(
        "scaling --adapter {adapter} --from-alpha 16 --to-alpha 1 --rank 8 --optimizer {optimizer}"
    )
}

#[test]
fn what_trains_something_else_is_refused_with_the_reason() {
    let desk = Desk::new();
    for optimizer in ["adamw", "sgd", "prodigy"] {
        let error = desk.run(&scaling("tlora", optimizer)).fails();
        let expected = "tlora: no scaling of the trained tensors replaces alpha: it multiplies base_q_layer, \
                        base_p_layer, base_lambda_layer as well, which stay as they are";
        assert!(error.starts_with(expected), "{error}");
    }
    let expected = "no scaling of the tensors replaces gamma under Prodigy: it has one estimate of a distance for \
                    all tensors, and lora_up needs it times 4, dora_scale times 1";
    assert_eq!(
        desk.run(&scaling("lora+dora", "prodigy")).fails(),
        format!("lora+dora: {expected}")
    );
    // Layers with a core and without.
    let error = desk.run(&scaling("lora:tucker", "prodigy")).fails();
    assert!(error.contains("lora_up needs it times 4, lora_up times 2.5198"), "{error}");
    let error = desk.run(
        "scaling --adapter dylora --from-alpha 2 --to-alpha 1 --rank 4 --optimizer sgd --rs-lora",
    );
    assert_eq!(error.fails(), "--rs-lora: dylora has no scale of alpha / sqrt(rank)");
}

#[test]
fn from_zeros_lamb_scales_what_is_not_zero() {
    let desk = Desk::new();
    let json = desk.run(&format!("{} --json", scaling("lora", "lamb"))).json();
    let initial = |index: usize| json["factors"][index]["initial"].as_f64().unwrap();
    assert_eq!([initial(0), initial(1)], [1.0, 16.0]);
    assert_eq!(json["one_norm"], false);
    assert!(json["factors"][0]["hyperparameters"].get("clipping_threshold").is_none());
    let out = desk.run(&scaling("lora", "lamb")).succeeds();
    assert!(
        out.contains("lora_up starts from zeros and takes up nothing: a tensor of zeros has"),
        "{out}"
    );
    assert!(out.contains("Clipping by one norm of all gradients has no threshold"), "{out}");
}

#[test]
fn every_form_of_the_layers_has_factors_of_its_own() {
    let json = Desk::new().run(&format!("{} --json", scaling("lora:tucker", "adamw"))).json();
    let forms = json["forms"].as_array().unwrap();
    let found: Vec<_> = forms.iter().map(|form| (&form["degree"], &form["layers"][0])).collect();
    assert_eq!(
        found,
        [
            (&json!(2), &json!("linear layer 320x320")),
            (&json!(3), &json!("2-d convolution 320x320x3x3"))
        ]
    );
}

#[test]
fn states_are_listed_with_their_powers() {
    let desk = Desk::new();
    let states = |optimizer: &str| -> Vec<(String, bool, i64, f64)> {
        let json = desk.run(&format!("{} --json", scaling("lora", optimizer))).json();
        let states = json["factors"][0]["state"].as_array().unwrap().clone();
        let state = |it: &Value| {
            let name = it["name"].as_str().unwrap().to_string();
            let (power, factor) = (it["power"].as_i64().unwrap(), it["factor"].as_f64().unwrap());
            (name, it["form"].is_string(), power, factor)
        };
        states.iter().map(state).collect()
    };
    let of = |name: &str, form, power: i32| (name.into(), form, power.into(), 4f64.powi(power));
    let prodigy = [("moment_1", 0), ("moment_2", 0), ("s", 1), ("start", 1), ("d", 1), ("r", 2)];
    assert_eq!(states("prodigy"), prodigy.map(|(name, power)| of(name, false, power)));
    let shampoo = [("left", -2), ("left", -1), ("right", -2), ("right", -1)];
    assert_eq!(states("shampoo")[..4], shampoo.map(|(name, power)| of(name, true, power)));
}

#[test]
fn a_page_has_the_numbers_of_the_recipe_in_both() {
    let desk = Desk::new();
    let page = "scaling --explain --adapter lora --from-alpha 16 --to-alpha 1 --rank 16 --optimizer adamw \
                --rate 1e-4 --clip 1 --set eps=1e-8 --set weight_decay=0.01";
    let numbers = |more: &str| -> (Value, Vec<(String, String, f64)>) {
        let json = desk.run(&format!("{page} {more} --json")).json();
        let lines = json["exact"][0]["numbers"].as_array().unwrap().clone();
        let line = |line: &Value| {
            let tensors: Vec<_> = line["tensors"].as_array().unwrap().iter().collect();
            let name = line["number"].as_str().unwrap().to_string();
            let tensor = tensors.first().map_or("", |it| it.as_str().unwrap()).to_string();
            (name, tensor, line["to"].as_f64().unwrap())
        };
        (json.clone(), lines.iter().map(line).collect())
    };
    let near = |found: &[(String, String, f64)], expected: &[(&str, &str, f64)]| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((&*found.0, &*found.1), (expected.0, expected.1), "{found:?}");
            assert!((found.2 / expected.2 - 1.0).abs() < 1e-12, "{found:?}, not {expected:?}");
        }
    };
    let (json, even) = numbers("");
    near(
        &even,
        &[
            ("initial_values", "lora_down", 4.0),
            ("learning_rate", "", 4e-4),
            ("weight_decay", "", 0.0025),
            ("eps", "", 2.5e-9),
            ("clipping", "", 0.25),
        ],
    );
    assert_eq!(
        (&json["ratio_of_own_start"], &json["exact"][0]["gamma"]),
        (&json!(16.0), &json!(16.0))
    );
    // The other way: initial values as they are, and the factor from zeros 16 times faster.
    let (json, parted) = numbers("--to-lora-plus 16");
    near(
        &parted,
        &[
            ("learning_rate", "lora_down", 1e-4),
            ("lora_plus_ratio", "", 16.0),
            ("weight_decay", "lora_up", 0.01 / 16.0),
            ("weight_decay", "lora_down", 0.01),
            ("eps", "lora_up", 1e-8 / 16.0),
            ("eps", "lora_down", 1e-8),
        ],
    );
    let lost = json["not_carried_over"].to_string();
    assert!(lost.contains("clipping by one norm") && lost.contains("parameter group"), "{lost}");
    // alpha / sqrt(16) is 4 times alpha / 16.
    let (json, _) = numbers("--to-rs-lora");
    assert_eq!(json["exact"][0]["gamma"], 4.0);
    assert_eq!(json["approximate"], json!([]));
    let (json, _) = numbers("--to-rank 4");
    assert_eq!(json["exact"][0]["gamma"], 4.0);
    assert_eq!(json["approximate"][0]["to"], 4e-4);
    assert!(json["not_carried_over"].to_string().contains("rank 16 to rank 4"), "{json}");
}

#[test]
fn a_page_says_what_cannot_be() {
    let desk = Desk::new();
    let page =
        |adapter: &str, optimizer: &str| format!("{} --explain", scaling(adapter, optimizer));
    let out = desk.run(&page("tlora", "adamw")).succeeds();
    assert!(
        out.contains("Exact: nothing. No scaling of the trained tensors replaces alpha"),
        "{out}"
    );
    let json = desk.run(&format!("{} --json", page("lora+dora", "prodigy"))).json();
    assert!(
        json["exact"].is_null() && json["reason"].as_str().unwrap().contains("Prodigy"),
        "{json}"
    );
    let error = desk.run(&format!("{} --to-lora-plus 4", page("lora", "prodigy"))).succeeds();
    assert!(
        error.contains("Exact: nothing. No scaling of the tensors changes the ratio"),
        "{error}"
    );
    for (more, expected) in [
        ("--set eps", "--set eps: give a name and a number, as eps=1e-8"),
        (
            "--set beta=1",
            "--set beta=1: AdamW has no beta; it has weight_decay, beta_1, beta_2, eps",
        ),
        ("--set eps=-1", "--set eps=-1: give 0 or more"),
        ("--rate 0", "--rate is 0: give a positive number"),
        ("--clip NaN", "--clip is NaN: give a positive number"),
        ("--to-lora-plus 0", "--to-lora-plus is 0: give a positive number"),
    ] {
        assert_eq!(desk.run(&format!("{} {more}", page("lora", "adamw"))).fails(), expected);
    }
    // They mean nothing without the page.
    desk.misuse(&format!("{} --rate 1", scaling("lora", "adamw")));
}
