//! Which layers rules and presets select, and what is said about those that select nothing.

use super::*;

fn chosen(rules: impl IntoIterator<Item = Rule>) -> Vec<String> {
    let injection = rules.into_iter().fold(lora("a"), Injection::rule);
    let (_, report) = inject(&net(&Device::default()), &registry(), &injection).unwrap();
    paths(&report).into_iter().map(String::from).collect()
}

fn error(injection: &Injection) -> String {
    let model = net(&Device::default());
    inject(&model, &with_row_shift(), injection).unwrap_err().to_string()
}

fn rule(text: &str) -> Rule {
    toml::from_str(text).unwrap()
}

#[test]
fn without_rules_everything_that_the_algorithm_adapts() {
    let per_block = ["proj_in", "attn_1.to_q", "attn_1.to_k", "attn_1.to_out.0", "attn_1.to_out.1"];
    let mut expected = vec!["conv_in".to_string()];
    for block in 0..2 {
        expected.extend(per_block.map(|name| format!("down_blocks.{block}.{name}")));
    }
    assert_eq!(chosen([]), expected);
}

#[test]
fn paths_classes_kinds_and_excludes_narrow_the_choice() {
    assert_eq!(
        chosen([rule(r#"paths = ["**.0.**.to_{q,k}"]"#)]),
        ["down_blocks.0.attn_1.to_q", "down_blocks.0.attn_1.to_k"]
    );
    assert_eq!(chosen([rule(r#"paths = ['re:.*\.to_out\.\d']"#)]).len(), 4);
    assert_eq!(chosen([Rule::classes(["Attention"])]).len(), 8);
    assert_eq!(chosen([Rule::classes(["Conv2d"])]).len(), 3);
    assert_eq!(chosen([Rule::default().layers([LayerKind::Conv])]), ["conv_in"]);
    let both = "classes = ['Transformer2DModel']\nlayers = ['pointwise', 'conv']";
    assert_eq!(chosen([rule(both)]), ["down_blocks.0.proj_in", "down_blocks.1.proj_in"]);
    let excluded = Rule::classes(["Attention"]).exclude(["**.to_out.*", "*.1.**"]).unwrap();
    assert_eq!(chosen([excluded]), ["down_blocks.0.attn_1.to_q", "down_blocks.0.attn_1.to_k"]);
}

#[test]
fn the_last_rule_that_selects_a_layer_wins() {
    let injection = Injection::new("a", "lora")
        .options(toml::toml! { rank = 2 alpha = 6.0 })
        .rule(Rule::classes(["Attention"]))
        .rule(rule("paths = ['**.to_q']\noptions = { rank = 3 }"))
        .rule(rule("paths = ['down_blocks.1.**.to_k']\nalgorithm = 'row-shift'"));
    let (model, report) = inject(&net(&Device::default()), &with_row_shift(), &injection).unwrap();
    let of = |path: &str| {
        let adapted = report.adapted.iter().filter(|a| a.site.path == path);
        adapted.map(|a| (a.algorithm, a.parameters)).collect::<Vec<_>>()
    };
    assert_eq!(of("down_blocks.0.attn_1.to_k"), [("lora", 2 * 10)]);
    assert_eq!(of("down_blocks.0.attn_1.to_q"), [("lora", 3 * 10)]);
    // The weight and the bias: this algorithm adapts both.
    assert_eq!(of("down_blocks.1.attn_1.to_k"), [("row-shift", 6), ("row-shift", 6)]);
    let trained: usize = factors(&model).iter().map(|(_, values)| values.num_elements()).sum();
    assert_eq!(report.parameters(), trained);
    // α stays that of the injection where only the rank is overridden.
    let alphas: Vec<f64> = adapters(&model, "a")
        .unwrap()
        .iter()
        .filter(|(site, _)| site.path.ends_with("to_q"))
        .map(|(site, adapter)| adapter.write(site)["alpha"].iter::<f64>().next().unwrap())
        .collect();
    assert_eq!(alphas, [6.0, 6.0]);
}

#[test]
fn a_rule_speaks_only_of_parameters_that_its_algorithm_adapts() {
    let injection = Injection::new("a", "row-shift")
        .rule(Rule::default())
        .rule(Rule::classes(["Transformer2DModel"]).algorithm("lora"));
    let (_, report) = inject(&net(&Device::default()), &with_row_shift(), &injection).unwrap();
    let of = |path: &str| {
        let adapted = report.adapted.iter().filter(|a| a.site.path == path);
        adapted.map(|a| (a.site.kind, a.algorithm)).collect::<Vec<_>>()
    };
    let to_q = [(SiteKind::Linear, "lora"), (SiteKind::Bias, "row-shift")];
    assert_eq!(of("down_blocks.0.attn_1.to_q"), to_q);
    let norm = [(SiteKind::Norm, "row-shift"), (SiteKind::NormBias, "row-shift")];
    assert_eq!(of("down_blocks.0.norm"), norm);
}

#[test]
fn what_matches_nothing_lists_near_misses() {
    let with = |text: &str| error(&lora("a").rule(rule(text)));
    assert_eq!(
        with("paths = ['**.to_kk']"),
        "no layer answers to the path pattern `**.to_kk`; nearest: **.to_k, **.to_q, **.norm"
    );
    assert_eq!(
        with("paths = ['down_blocks.0.attn1.to_q', 'conv_in']"),
        "no layer answers to the path pattern `down_blocks.0.attn1.to_q`; nearest: \
         down_blocks.0.attn_1.to_q, down_blocks.0.attn_1.to_k, down_blocks.1.attn_1.to_q"
    );
    assert_eq!(
        with("classes = ['Atention']"),
        "no layer answers to the class `Atention`; nearest: Attention, Net, Conv2d"
    );
    assert!(
        with("exclude = ['con_in']")
            .starts_with("no layer answers to the exclude pattern `con_in`; nearest: conv_in")
    );
    assert_eq!(
        with("paths = ['down_blocks.0']"),
        "`down_blocks.0` is a module, not a layer; write `down_blocks.0.**` for the layers inside"
    );
    assert_eq!(
        with(r"paths = ['re:.*attn_\d']"),
        r"`re:.*attn_\d` is a module, not a layer; write `re:(?:.*attn_\d)\..*` for the layers inside"
    );
}

#[test]
fn what_matches_only_the_wrong_layers_says_so() {
    let with = |text: &str| error(&lora("a").rule(rule(text)));
    assert_eq!(
        with("paths = ['**.norm']"),
        "`**.norm` matches norm layers only, and this rule of lora takes none of them"
    );
    assert_eq!(
        with("paths = ['conv_in']\nlayers = ['linear']"),
        "`conv_in` matches conv layers only, and this rule of lora takes none of them"
    );
    assert_eq!(
        with("paths = ['conv_in']\nexclude = ['conv_*']"),
        "rule 1 leaves no parameter for lora to adapt: paths conv_in; exclude conv_*"
    );
    assert_eq!(
        with("any = true\nclasses = ['A', 'B', 'C', 'D', 'E']\nlayers = ['conv']"),
        "rule 1 leaves no parameter for lora to adapt: classes A, B, C and 2 more; layers conv"
    );
}

#[test]
fn unknown_names_list_the_known_ones() {
    assert_eq!(
        error(&Injection::new("a", "lola")),
        format!(
            "no algorithm is called `lola`; there are: {}",
            with_row_shift().iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
        )
    );
    let message = error(&Injection::new("a", "lora").options(toml::toml! { rnak = 2 }));
    assert!(message.contains("rnak"), "{message}");
    let message = Preset::built_in("fulll").unwrap_err().to_string();
    assert!(message.contains("`fulll`") && message.contains("attn-mlp"), "{message}");
}

#[test]
fn presets_read_and_their_fields_are_checked() {
    let preset = "about = 'Mine.'\n\n[[rules]]\npaths = ['**.to_k']\nrank = 3\n";
    assert_eq!(
        Preset::parse("mine.toml", preset).unwrap_err().to_string(),
        "preset mine.toml, line 5: unknown field `rank`, expected one of `paths`, `classes`, \
         `layers`, `exclude`, `any`, `algorithm`, `options`"
    );
    let pattern = Preset::parse("p", "[[rules]]\npaths = ['a', '[b']").unwrap_err().to_string();
    assert_eq!(pattern, "preset p, line 2: pattern `[b`: unclosed character class; missing ']'");
    let own: Preset = "[[rules]]\npaths = ['**.to_k']\noptions = { rank = 3 }".parse().unwrap();
    let written = toml::to_string(&own).unwrap();
    assert_eq!(written.parse::<Preset>().unwrap(), own);
    let (_, report) =
        inject(&net(&Device::default()), &registry(), &lora("a").preset(own)).unwrap();
    assert_eq!(report.parameters(), 2 * 3 * 10);
}

#[test]
fn built_in_presets_select_what_lycoris_means() {
    let with = |name: &str| chosen(Preset::built_in(name).unwrap().rules);
    let (transformers, convolutions) = (10, 1);
    assert_eq!(with("full").len(), transformers + convolutions);
    assert_eq!(with("full-lin").len(), transformers);
    assert_eq!(with("attn-mlp").len(), transformers);
    assert_eq!(with("attn-only").len(), 8);
    assert_eq!(with("unet-only").len(), transformers + convolutions);
    assert_eq!(with("unet-transformer-only").len(), transformers);
    assert_eq!(with("unet-convblock-only"), ["conv_in"]);
    for name in Preset::names() {
        assert!(!Preset::built_in(name).unwrap().about.is_empty());
    }
}

#[test]
fn an_injection_reads_from_a_table_and_refuses_what_it_does_not_know() {
    let read = |text: &str| toml::from_str::<Injection>(text);
    let injection = read(
        "set = 'a'\nalgorithm = 'lora'\nseed = 7\noptions = { rank = 2 }\n\
         [[rules]]\nclasses = ['Attention']\n[like]\nProjection = 'linear'",
    );
    let expected =
        lora("a").seed(7).rule(Rule::classes(["Attention"])).like("Projection", LayerKind::Linear);
    assert_eq!(injection.unwrap(), expected);
    let error = read("set = 'a'\nalgorithm = 'lora'\nrank = 2").unwrap_err();
    assert!(error.message().contains("`rank`"), "{error}");
}
