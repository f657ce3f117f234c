//! The numbers of a page, trained.

use higanbana_adapters::registry;
use higanbana_core::{Site, SiteKind};
use higanbana_train::{
    Group, optimizer,
    scaling::translation::{Line, Numbers, Translation, ratio_of_own_start, translate},
};

use super::course::{Course, departure, felt};

/// A training by numbers: published, and those of a page.
struct Page {
    course: Course,
    published: Numbers,
    translation: Translation,
    zeros: Vec<String>,
    ratio: f64,
    rule: &'static higanbana_train::Rule,
}

impl Page {
    /// From a scale to one that is 16 times smaller.
    fn new(
        adapter: &str,
        optimizer_name: &str,
        from_ratio: f64,
        to_ratio: Option<f64>,
        clip: Option<f64>,
    ) -> Self {
        let (registry, rule) = (registry(), optimizer(optimizer_name).unwrap());
        let site = Site::new("layer", SiteKind::Linear, [12, 8]);
        let mut options = toml::Table::new();
        options.insert("rank".into(), 4.into());
        let kind = registry.get(adapter).unwrap();
        let course = Course::new(kind, &options, &[site], 16.0, false);
        let layers = course.layers(16.0).unwrap();
        let published = Numbers { rate: rule.rate, ratio: from_ratio, clip, settings: felt(rule) };
        // Without one, that at which initial values stay.
        let ratio = to_ratio.or_else(|| ratio_of_own_start(&layers, rule, from_ratio)).unwrap();
        let translation = translate(&layers, rule, &published, ratio).unwrap();
        Self { course, published, translation, zeros: layers[0].zeros.clone(), ratio, rule }
    }

    fn published(&self) -> Vec<Vec<f64>> {
        let Numbers { rate, ratio, clip, ref settings } = self.published;
        self.course.published(self.rule, clip, |_, name| {
            let faster = if self.zeros.iter().any(|zero| zero == name) { ratio } else { 1.0 };
            Group { rate: rate * faster, settings: settings.clone() }
        })
    }

    /// The page's, with the lines that `stays` names at their published values.
    fn here(&self, stays: &str) -> Vec<Vec<f64>> {
        let of = |what: &str, name: &str| -> Option<&Line> {
            let lines = self.translation.lines[0].iter().filter(|line| line.what == what);
            let mut lines = lines
                .filter(|line| line.tensors.is_empty() || line.tensors.iter().any(|it| it == name));
            lines.next()
        };
        let value = |line: &Line| if line.what == stays { line.from } else { line.to };
        let initial = |_: usize, name: &str| of("initial values", name).map_or(1.0, value);
        let group = |_: usize, name: &str| {
            let rates = self.translation.lines[0].iter().find(|line| line.what == "learning rate");
            let rate = value(of("learning rate", name).or(rates).unwrap());
            let ratio = of("LoRA+ ratio", name).map_or(1.0, value);
            let faster = if self.zeros.iter().any(|zero| zero == name) { ratio } else { 1.0 };
            let settings = self.rule.hyperparameters.iter().fold(felt(self.rule), |settings, h| {
                let found = of(h.name, name).map(value);
                found.map_or(settings.clone(), |value| settings.with(h.name, value))
            });
            Group { rate: rate * faster, settings }
        };
        let clip = of("clipping", "").map(value);
        self.course.from(self.rule, clip, initial, group)
    }
}

#[test]
fn the_numbers_of_a_page_train_what_was_published() {
    let even = [Some(1.0), Some(4.0)];
    for (adapter, optimizer, from, to, clip) in [
        ("lora", "adamw", 1.0, even[0], Some(0.02)),
        ("lora", "adamw", 4.0, even[1], Some(0.02)),
        ("lora", "adamw", 1.0, None, None),
        ("lora", "sgd", 4.0, Some(1.0), None),
        ("lora", "sgd", 1.0, None, None),
        ("lora", "lamb", 1.0, even[0], None),
        ("lora", "prodigy", 1.0, even[0], None),
        ("loha", "adamw", 2.0, Some(8.0), None),
        ("loha", "adamw", 1.0, even[0], Some(0.02)),
        ("lora+dora", "adamw", 1.0, even[0], None),
    ] {
        let page = Page::new(adapter, optimizer, from, to, clip);
        let published = page.published();
        let cell = format!("{adapter} with {optimizer}, ratio {from} to {}", page.ratio);
        let off = departure(&published, &page.here(""));
        assert!(off < 1e-6, "{cell}: {off:e}");
        // Every line that changes a number is needed.
        for line in page.translation.lines[0].iter().filter(|line| line.from != line.to) {
            let off = departure(&published, &page.here(line.what));
            assert!(off > 1e-4, "{cell} with the published {}: {off:e}", line.what);
        }
    }
}

#[test]
fn there_is_a_ratio_at_which_initial_values_stay() {
    for (adapter, optimizer, ratio) in
        [("lora", "adamw", 16.0), ("lora", "sgd", 256.0), ("loha", "adamw", 16.0)]
    {
        let page = Page::new(adapter, optimizer, 1.0, None, None);
        assert!((page.ratio / ratio - 1.0).abs() < 1e-12, "{adapter} {optimizer}: {}", page.ratio);
        assert!(page.translation.lines[0].iter().all(|line| line.what != "initial values"));
    }
}
