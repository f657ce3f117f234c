use burn::tensor::TensorData;

use super::run::{Desk, reference};

#[test]
fn an_adapter_is_shown_module_by_module() {
    let desk = Desk::new();
    desk.tensors(
        "a",
        &[
            ("lora_unet_l.lora_up.weight", TensorData::from([[1.0f32], [2.0], [2.0]])),
            ("lora_unet_l.lora_down.weight", TensorData::from([[3.0f32, 4.0]])),
            ("lora_unet_l.alpha", TensorData::from([0.2f32])),
        ],
    );
    let out = desk.run("inspect a").succeeds();
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    // ‖[1, 2, 2]‖ ‖[3, 4]‖ 0.2
    let row = ["lora_unet_l", "lora", "3×2", "1", "0.2", "3.0000", "5", "F32"];
    assert_eq!(lines[1], row);
    assert!(out.contains("a: 1 module of kohya, 5 parameters, "), "{out}");
    assert!(out.contains("metadata\n  name: a\n"), "{out}");
}

#[test]
fn updates_that_follow_from_the_base_ask_for_it_by_name() {
    let desk = Desk::new();
    let (base, adapter) = (reference("base.safetensors"), reference("diag_oft.safetensors"));
    let out = desk.run(&format!("inspect {adapter}")).succeeds();
    assert!(
        out.contains("The update of diag-oft is not known without the base: give --base FILE."),
        "{out}"
    );
    let out = desk.run(&format!("inspect {adapter} --base {base}")).succeeds();
    assert!(!out.contains("depends on"), "{out}");
    // W(1) − W0 of LyCORIS, from its expected file.
    let json = desk.run(&format!("inspect {adapter} --base {base} --json")).json();
    let row = json["adapters"].as_array().unwrap().iter().find(|row| row["key"] == "lin.weight");
    let norm = row.unwrap()["norm"].as_f64().unwrap();
    let read = |file: &str, key: &str| -> Vec<f64> {
        let file = higanbana_io::Checkpoint::open(reference(file)).unwrap();
        file.read(key).unwrap().iter().collect()
    };
    let w0 = read("base.safetensors", "lin.weight");
    let w = read("diag_oft.expected.safetensors", "lin.weight@1");
    let expected = w.iter().zip(w0).map(|(w, w0)| (w - w0).powi(2)).sum::<f64>().sqrt();
    assert!((norm - expected).abs() <= 1e-5 * expected, "{norm} {expected}");
}

#[test]
fn shapes_are_shown_as_far_as_files_tell() {
    let desk = Desk::new();
    for (name, cell) in [
        ("diag_oft", "24×?"),
        ("boft", "24×?"),
        ("ia3_output", "24×?"),
        ("ia3_input", "?×20"),
        ("loha", "24×20 (in·K)"),
        ("lora", "24×20 "),
    ] {
        let out = desk.run(&format!("inspect {}", reference(&format!("{name}.safetensors"))));
        let out = out.succeeds();
        let row = out.lines().find(|line| line.starts_with("lycoris_lin ")).unwrap();
        assert!(row.contains(cell) && row.contains("(in·K)") == (name == "loha"), "{row}");
    }
}

/// Scripts read these names: they may be added to, and not changed.
#[test]
fn json_has_stable_names() {
    let desk = Desk::new();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let json = desk.run(&format!("inspect {} --json", reference("lora.safetensors"))).json();
    assert_eq!(json["kind"], "adapter");
    assert_eq!(
        keys(&json).join(" "),
        "kind file bytes dialect adapters modules parameters norm embeddings leftovers notes metadata"
    );
    assert_eq!(
        keys(&json["adapters"][0]).join(" "),
        "module parameter key algorithm shape unfolded rank alpha parameters dtype norm"
    );
    let json = desk.run(&format!("inspect {} --json", reference("base.safetensors"))).json();
    assert_eq!(json["kind"], "checkpoint");
    assert_eq!(
        keys(&json).join(" "),
        "kind file bytes family models looks_like no_adapter tensors parameters dtypes notes metadata keys"
    );
    assert_eq!(keys(&json["dtypes"]["F32"]).join(" "), "tensors parameters");
    assert_eq!(keys(&json["keys"][0]).join(" "), "key dtype shape");
    assert_eq!(json["keys"].as_array().unwrap().len(), 22);
}

#[test]
fn other_files_are_shown_for_what_they_are() {
    let desk = Desk::new();
    let out = desk.run(&format!("inspect {}", reference("base.safetensors"))).succeeds();
    assert!(out.contains("no adapter; 22 tensors, 5328 parameters"), "{out}");
    assert!(out.contains("no adapter: none of its 22 tensors belongs to one ("), "{out}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["lin.weight", "F32", "24×20"]), "{out}");
    assert!(out.contains("... and 2 more; --json has all"), "{out}");
    desk.tensors("net", &[("control_model.zero_convs.0.0.weight", TensorData::from([[0.5f32]]))]);
    let out = desk.run("inspect net").succeeds();
    assert!(out.contains("looks like: ControlNet\n"), "{out}");
    desk.bytes("text", b"{\"r\": 16, \"lora_alpha\": 32}");
    let message = desk.run("inspect text").fails();
    assert!(
        message.starts_with("text: is plain text or JSON, no file of weights that is read; "),
        "{message}"
    );
    let message = desk.run("inspect none").fails();
    assert!(message.starts_with("none: cannot be opened"), "{message}");
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
}

#[test]
fn what_is_not_understood_is_said() {
    let desk = Desk::new();
    desk.tensors(
        "a",
        &[
            ("lycoris_l.diff", TensorData::from([[0.0f32]])),
            ("lycoris_l.weft", TensorData::from([[0.0f32]])),
        ],
    );
    let run = desk.run("inspect a");
    run.succeeds();
    assert_eq!(
        run.err(),
        "warning: a: no use for 1 of its modules and tensors\n  \
         lycoris_l.weft: no tensor of a known adapter is called so\n"
    );
}

#[test]
fn a_norm_that_overflows_is_null_and_help_says_so() {
    let desk = Desk::new();
    desk.tensors(
        "a",
        &[
            ("lycoris_l.lora_up.weight", TensorData::from([[1e30f32]])),
            ("lycoris_l.lora_down.weight", TensorData::from([[1e30f32]])),
        ],
    );
    let json = desk.run("inspect a --json").json();
    assert!(json["adapters"][0]["norm"].is_null() && json["norm"].is_null(), "{json}");
    let help = desk.run("inspect --help").succeeds();
    assert!(help.contains("and where it overflows; that of the file"), "{help}");
}

#[test]
fn shapes_that_fit_nothing_are_said_with_those_that_would() {
    let desk = Desk::new();
    desk.tensors("base", &[("l.weight", TensorData::zeros::<f32, _>([8, 6]))]);
    let ones = |shape: [usize; 2]| TensorData::ones::<f32, _>(shape);
    desk.tensors(
        "dora",
        &[
            ("lycoris_l.lora_up.weight", ones([8, 1])),
            ("lycoris_l.lora_down.weight", ones([1, 6])),
            ("lycoris_l.dora_scale", ones([5, 1])),
        ],
    );
    desk.tensors(
        "empty",
        &[("lycoris_l.lora_up.weight", ones([8, 0])), ("lycoris_l.lora_down.weight", ones([0, 6]))],
    );
    desk.tensors("nothing", &[]);
    for (command, part) in [
        (
            "inspect dora --base base",
            "dora_scale: shape [5, 1] does not fit, expected [8, 1] or [1, 6]",
        ),
        ("inspect empty", "expected a rank of 1 or more, rank 0 adapts nothing"),
        ("resize nothing --rank 1 -o out", "it has no tensors; name an adapter file"),
    ] {
        let message = desk.refusal(command);
        assert!(message.contains(part), "{message}");
    }
    let mut header = (200_000_000u64).to_le_bytes().to_vec();
    header.extend(b"{}");
    desk.bytes("large", &header);
    let message = desk.refusal("inspect large");
    assert!(message.ends_with("download or save it again"), "{message}");
}

#[test]
fn what_is_missing_is_said_with_a_base_and_without() {
    let desk = Desk::new();
    desk.tensors("base", &[("l.weight", TensorData::from([[0.0f32; 2]; 2]))]);
    desk.tensors("half", &[("lycoris_l.lora_up.weight", TensorData::from([[1.0f32], [2.0]]))]);
    for command in ["inspect half", "inspect half --base base", "inspect half --json"] {
        let message = desk.refusal(command);
        assert!(message.contains("lycoris_l: tensor `lora_down.weight` is missing"), "{message}");
    }
}
