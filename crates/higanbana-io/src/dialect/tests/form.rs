//! An algorithm from outside, and how PEFT holds it.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Degree, Init, NoOptions, Parts, PeftForm, Registry, Site, parts::to_data,
};

use super::{writing::file, *};

/// A row that is added to every row of the weight.
#[derive(Module, Debug)]
struct Shift {
    shift: Param<Tensor<1>>,
}

impl Adapter for Shift {
    type Config = NoOptions;

    const NAME: &'static str = "shift";
    const TITLE: &'static str = "Shift";
    const REFERENCE: &'static str = "";
    const FORMULA: &'static str = r"1 v^\top";
    const RANK: &'static str = "1";
    const PARAMETERS: &'static str = "in";
    const KEYS: &'static [&'static str] = &["shift"];
    const PEFT: Option<&'static dyn PeftForm> = Some(&Form);

    fn new(site: &Site, _: &NoOptions, init: &mut Init) -> Result<Self, AdapterError> {
        Ok(Self { shift: Param::from_tensor(init.zeros([site.cols()])) })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        self.shift.val().unsqueeze::<2>().repeat_dim(0, site.out())
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("shift", 1)])
    }

    fn rank_bound(&self, _site: &Site) -> usize {
        1
    }

    fn parameter_count(&self, site: &Site) -> usize {
        site.cols()
    }

    fn write(&self, site: &Site) -> Tensors {
        Tensors::from([("shift".into(), to_data(&self.shift.val(), [site.cols()]))])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        Ok(Self { shift: Param::from_tensor(parts.tensor("shift", [site.cols()])?) })
    }
}

#[derive(Debug)]
struct Form;

impl PeftForm for Form {
    fn name(&self) -> &'static str {
        "SHIFT"
    }

    fn tensors(&self) -> &'static [&'static str] {
        Shift::KEYS
    }

    fn names(&self) -> &'static [(&'static str, &'static str)] {
        &[("shift_row", "shift")]
    }
}

#[test]
fn an_algorithm_from_outside_is_written_and_read_in_a_form_of_its_own() {
    let registry: Registry = registry().with::<Shift>();
    let file = file([("unet.m.a", Tensors::from([("shift".into(), ramp([3], 1.0))]))]);
    let encode = |to| file.encode(&registry, to, None, &Network::default());
    let encoded = encode(Dialect::Peft).unwrap();
    let theirs = ("base_model.model.m.a.shift_row".to_string(), ramp([3], 1.0));
    assert_eq!(encoded.tensors, BTreeMap::from([theirs]));
    assert!(encoded.adapter_config.as_ref().unwrap().contains("\"peft_type\": \"SHIFT\""));
    let folder = tempdir().unwrap();
    let path = folder.path().join("adapter_model.safetensors");
    encoded.write(&path, false).unwrap();
    let read = AdapterReader::open(path, &registry).unwrap();
    assert_eq!((read.dialect(), read.notes()), (Dialect::Peft, &[][..]));
    assert_eq!(read.read("base_model.model.m.a").unwrap(), file.modules["unet.m.a"]);
    let message = encode(Dialect::Diffusers).unwrap_err().to_string();
    assert!(
        message.contains("\"unet.m.a\": shift cannot be written as diffusers; bake it"),
        "{message}"
    );
}
