//! The training of a token against transformers, by the procedure of diffusers' `textual_inversion.py`.

use burn::{
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use higanbana_diffusion::{
    Pipeline,
    pipeline::captions,
    schedulers::{NoiseSchedule, Prediction},
};
use higanbana_io::Checkpoint;
use higanbana_train::{
    Group, ModelOptimizer,
    network::{Batch, Network},
    objective::Objective,
    optimizer, weights,
};

use super::{
    formula,
    reference::{deviation, folder, pipeline_folder},
};

/// A pipeline that has learnt a token of two vectors, and its models, of which that token is trained.
fn begun() -> (Pipeline, Network) {
    let model = pipeline_folder("sd");
    let mut pipeline = Pipeline::read(model.path(), &Device::default(), DType::F32).unwrap();
    pipeline.learn_words("lilium", "a red", None).unwrap();
    let network = Network::frozen(&pipeline).learning(&[true]);
    (pipeline, network)
}

fn loss(pipeline: &Pipeline, network: &Network) -> Tensor<1> {
    let (schedule, device) = (NoiseSchedule::stable_diffusion(), Network::device(pipeline));
    let z = formula::tensor("training latents", [2, 4, 8, 8], &device);
    let n = formula::tensor("training noise", [2, 4, 8, 8], &device);
    let times = [981, 3];
    let texts = ["a lilium in the rain", "lilium, best quality, lilium"].map(String::from);
    let tokenizer = &pipeline.encoders[0].tokenizer;
    let text = captions(&[(tokenizer, &network.encoders[0])], &texts, 1, 0).unwrap();
    let batch = Batch {
        noisy: schedule.add_noise(z, n.clone(), &times),
        target: n,
        mask: None,
        times: times.into(),
        weights: vec![1.0; 2],
        context: text.context,
        added: None,
    };
    let objective = Objective::default();
    network.losses(&batch, &objective, &schedule, Prediction::Epsilon).mean()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn a_token_is_trained_as_by_diffusers() {
    let expected = Checkpoint::open(folder("embeddings").join("training.safetensors")).unwrap();
    let expected = |key: &str| expected.read(key).unwrap().iter::<f32>().collect::<Vec<_>>();
    let (pipeline, mut network) = begun();
    // Nothing else is.
    let trained: Vec<_> = weights::read(&network).into_keys().collect();
    assert_eq!(trained, ["encoders.0.text_model.embeddings.learnt.0"]);

    let rule = optimizer("adamw").unwrap();
    let settings = rule.settings().with("weight_decay", 0.01);
    let group = Group { rate: 1e-2, settings };
    let mut optimizer = ModelOptimizer::new(&network, rule, &[group], |_| 0);
    for step in 0..10 {
        let loss = loss(&pipeline, &network);
        let value = values(loss.clone().unsqueeze());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        if step == 0 {
            assert!(deviation(&expected("loss"), &value) < 1e-5, "{value:?}");
            let id = network.encoders[0].learnt()[0].id;
            let off = deviation(&expected("gradient"), &values(gradients.get::<2>(id).unwrap()));
            println!("gradient: {off:.1e}");
            assert!(off < 1e-4, "gradient: {off:.1e}");
        }
        network = optimizer.step(1.0, network, gradients);
    }
    let off = deviation(&expected("after"), &values(network.encoders[0].learnt()[0].val()));
    println!("after ten steps: {off:.1e}");
    assert!(off < 1e-4, "after ten steps: {off:.1e}");
}

/// The rows of a token begin as those of words, over and over.
#[test]
fn a_token_begins_as_words() {
    let (mut pipeline, _) = begun();
    let tokens = pipeline.encoders[0].tokenizer.tokens("a red").unwrap();
    pipeline.learn_words("<x>", "a red", Some(3)).unwrap();
    let model = &pipeline.encoders[0].model;
    let numbers: Vec<usize> = pipeline.encoders[0].tokenizer.numbers("<x>").unwrap().collect();
    assert_eq!(numbers, [2516, 2517, 2518]);
    let begin = values(model.vectors_of(&[tokens[0], tokens[1], tokens[0]]));
    assert_eq!(values(model.vectors_of(&numbers)), begin);
    let error = pipeline.learn_words("<y>", "a red", Some(1)).unwrap_err().to_string();
    assert_eq!(error, "words: \"a red\" are 2 tokens; give 1 at least, 1 at most");
    assert!(pipeline.learn_words("<y>", "", None).is_err());
}
