mod export;

use proptest::prelude::*;
use tract_onnx::pb::TensorProto;
use tract_onnx::prelude::*;

use self::export::{Config, export};
use super::super::testing::{
    assert_other_constants_are_refused, assert_other_nodes_are_refused, difference, levels,
};
use super::graph::Graph;
use super::*;

fn built_in() -> ModelProto {
    tract_onnx::onnx().proto_model_for_read(&mut &*crate::builtin::ONNX).unwrap()
}

/// The embedding that tract computes.
fn by_tract(proto: &ModelProto, features: &[f32], n_mels: usize, n_frames: usize) -> Vec<f32> {
    let model = tract_onnx::onnx().model_for_proto_model(proto).unwrap();
    let model = model.with_input_fact(0, f32::fact([1, n_mels, n_frames]).into()).unwrap();
    let input = Tensor::from_shape(&[1, n_mels, n_frames], features).unwrap();
    let output = model.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input.into())).unwrap();
    output[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

fn features(n_mels: usize, n_frames: usize) -> Vec<f32> {
    (0..n_mels * n_frames).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect()
}

fn assert_is_tracts(network: &Network, proto: &ModelProto, features: &[f32], n_frames: usize) {
    let expected = by_tract(proto, features, network.n_mels(), n_frames);
    let difference = difference(&network.run(features, n_frames), &expected);
    assert!(difference < 2e-5, "{:?}, {n_frames} frames: {difference}", network.level);
}

/// Every kind of processor that this one can stand in for; longer windows before shorter ones, which use the same memory.
#[test]
fn the_built_in_network_gives_what_tract_gives() {
    let proto = built_in();
    for level in levels() {
        let network = Network::recognise(&proto, level).expect("the built-in network");
        assert_eq!((network.n_mels(), network.least_frames()), (80, 4));
        for n_frames in [80, 301, 150, 5, 4] {
            assert_is_tracts(&network, &proto, &features(80, n_frames), n_frames);
        }
    }
}

#[test]
fn denormal_and_large_features_give_what_tract_gives() {
    let proto = built_in();
    for level in levels() {
        let network = Network::recognise(&proto, level).unwrap();
        for size in [1e-42, 1e-20, 1e4, 1e12] {
            let features: Vec<f32> = features(80, 50).iter().map(|value| value * size).collect();
            assert_is_tracts(&network, &proto, &features, 50);
        }
        // Beyond what the squares of a norm can hold, tract gives finite values, too, or none.
        let features: Vec<f32> = features(80, 50).iter().map(|value| value * 1e30).collect();
        let (ours, tracts) = (network.run(&features, 50), by_tract(&proto, &features, 80, 50));
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        assert_eq!(is_finite(&ours), is_finite(&tracts), "{level:?}");
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let proto = built_in();
    for level in levels() {
        let network = Network::recognise(&proto, level).unwrap();
        for (idx, value) in [(0, f32::NAN), (79 * 40 + 17, f32::INFINITY), (80 * 40 - 1, f32::NAN)] {
            let mut features = features(80, 40);
            features[idx] = value;
            assert!(network.run(&features, 40).iter().all(|value| value.is_nan()), "{level:?}");
        }
        // And leaves nothing behind.
        assert_is_tracts(&network, &proto, &features(80, 40), 40);
    }
}

#[test]
fn threads_share_a_network() {
    let network = Network::recognise(&built_in(), Level::new()).unwrap();
    let windows: Vec<Vec<f32>> = [150, 90, 150, 200].map(|n_frames| features(80, n_frames)).to_vec();
    let alone: Vec<_> = windows.iter().map(|window| network.run(window, window.len() / 80)).collect();
    std::thread::scope(|scope| {
        for (window, alone) in windows.iter().zip(&alone) {
            let network = &network;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(&network.run(window, window.len() / 80), alone);
                }
            });
        }
    });
}

#[test]
fn every_other_graph_is_refused() {
    assert_other_nodes_are_refused(&built_in(), |proto| Graph::read(proto).is_some());
}

#[test]
fn constants_that_are_part_of_the_pattern_are_compared() {
    // The smallest variances belong to the network, as weights do.
    let is_small = |tensor: &TensorProto| {
        let bytes: [u8; 4] = tensor.raw_data[..4].try_into().unwrap();
        tensor.data_type == 1 && f32::from_le_bytes(bytes) < 1e-4
    };
    assert_other_constants_are_refused(&built_in(), is_small, |proto| Graph::read(proto).is_some());
}

#[test]
fn other_versions_inputs_and_weights_are_refused() {
    let refused = |what: &str, change: &dyn Fn(&mut ModelProto)| {
        let mut proto = built_in();
        change(&mut proto);
        assert!(Network::recognise(&proto, Level::new()).is_none(), "{what}");
    };
    refused("version 18 of the operators", &|proto| proto.opset_import[0].version = 18);
    refused("version 12 of the operators", &|proto| proto.opset_import[0].version = 12);
    refused("other operators, too", &|proto| proto.opset_import.push(Default::default()));
    refused("no graph", &|proto| proto.graph = None);
    refused("a second output", &|proto| {
        let graph = proto.graph.as_mut().unwrap();
        graph.output.push(graph.output[0].clone());
    });
    refused("a further node", &|proto| {
        let graph = proto.graph.as_mut().unwrap();
        let mut node = graph.node[4].clone();
        node.output[0].push('_');
        graph.node.push(node);
    });
    refused("weights of another shape", &|proto| {
        let weights = &mut proto.graph.as_mut().unwrap().initializer;
        weights.iter_mut().find(|tensor| tensor.name == "stem.weight").unwrap().dims.reverse();
    });
    refused("weights in another file", &|proto| {
        proto.graph.as_mut().unwrap().initializer[0].external_data.push(Default::default());
    });
    refused("missing weights", &|proto| drop(proto.graph.as_mut().unwrap().initializer.remove(7)));
    refused("weights that are no numbers", &|proto| {
        proto.graph.as_mut().unwrap().initializer[0].raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
}

#[test]
fn channels_that_do_not_fill_vectors_run_in_tract() {
    let config = |n_channels, n_scales| Config {
        n_mels: 20,
        n_channels,
        depths: vec![1],
        scales: vec![3; n_scales],
        n_embedding: 8,
        seed: 1,
    };
    assert!(Network::recognise(&export(&config(32, 2)), Level::new()).is_some());
    assert!(Network::recognise(&export(&config(24, 1)), Level::new()).is_none());
    assert!(Network::recognise(&export(&config(32, 4)), Level::new()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Networks of other shapes, with one scale or several, and panels that are filled or not.
    #[test]
    fn networks_of_other_shapes_give_what_tract_gives(
        n_mels in 1_usize..90,
        n_vectors in 1_usize..4,
        depths in prop::collection::vec(1_usize..3, 1..4),
        halves in prop::collection::vec(0_usize..20, 1..4),
        n_embedding in 1_usize..70,
        n_frames in 4_usize..60,
        seed in any::<u64>(),
    ) {
        let config = Config {
            n_mels,
            n_channels: n_vectors * halves.len() * CHANNELS_MULTIPLE,
            depths,
            // A depthwise convolution has more than one tap or channel of its own.
            scales: halves.iter().map(|half| 2 * half + 1).collect(),
            n_embedding,
            seed,
        };
        let proto = export(&config);
        for level in levels() {
            let network = Network::recognise(&proto, level).expect("the recipe's graph");
            assert_is_tracts(&network, &proto, &features(n_mels, n_frames), n_frames);
        }
    }
}
