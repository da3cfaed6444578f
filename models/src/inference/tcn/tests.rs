use tract_onnx::prelude::*;

use super::super::testing::{
    assert_other_constants_are_refused, assert_other_nodes_are_refused, difference, levels,
};
use super::graph::Graph;
use super::*;
use crate::operators;

fn built_in() -> ModelProto {
    tract_onnx::onnx().proto_model_for_read(&mut &*crate::builtin::SEGMENTER_ONNX).unwrap()
}

/// Frames of a call in tract, as exported.
const CHUNK: usize = 10;

/// Rows that look like log-mel values, with `n_frames` frames.
fn features(n_mels: usize, n_frames: usize) -> Vec<f32> {
    (0..n_mels * n_frames).map(|i| 9.0 + ((i * 37 % 101) as f32 - 50.0) / 12.0).collect()
}

/// The outputs that tract computes for a stream, by frame.
fn by_tract(proto: &ModelProto, network: &Network, features: &[f32]) -> Vec<f32> {
    let model = tract_onnx::onnx().model_for_proto_model(proto).unwrap();
    let plan = operators::optimise_stream(model.into_typed().unwrap()).unwrap().into_runnable().unwrap();
    let mut state = plan.spawn().unwrap();
    let n_mels = network.n_mels;
    let mut outputs = Vec::new();
    for rows in features.chunks_exact(CHUNK * n_mels) {
        let turned: Vec<f32> = (0..rows.len()).map(|idx| rows[idx % CHUNK * n_mels + idx / CHUNK]).collect();
        let input = Tensor::from_shape(&[1, n_mels, CHUNK], &turned).unwrap();
        let output = state.run(tvec!(input.into())).unwrap();
        let view = output[0].to_plain_array_view::<f32>().unwrap();
        outputs.extend(
            (0..CHUNK)
                .flat_map(|t| (0..network.n_outputs).map(move |row| (t, row)))
                .map(|(t, row)| view[[0, row, t]]),
        );
    }
    outputs
}

/// The outputs in calls of `n_frames`, by frame.
fn in_calls(network: &Network, features: &[f32], n_frames: usize) -> Vec<f32> {
    let mut state = network.stream(n_frames);
    let mut outputs = Vec::new();
    for rows in features.chunks(n_frames * network.n_mels) {
        let rows_out = network.run(rows, &mut state);
        for frame in 0..rows.len() / network.n_mels {
            outputs.extend_from_slice(rows_out.at(frame, 0, network.n_outputs));
        }
    }
    outputs
}

/// Every kind of processor that this one can stand in for, and calls of any length; long enough that every block sees its
/// whole past.
#[test]
fn the_built_in_network_gives_what_tract_gives() {
    let proto = built_in();
    for level in levels() {
        let network = Network::recognise(&proto, level).expect("the built-in network");
        assert_eq!(network.shape(), (80, 96, 4));
        let features = features(80, 600);
        let expected = by_tract(&proto, &network, &features);
        let in_tens = in_calls(&network, &features, CHUNK);
        let difference = difference(&in_tens, &expected);
        assert!(difference < 2e-5, "{level:?}: {difference}");
        for n_frames in [1, 7, 13] {
            assert_eq!(in_calls(&network, &features, n_frames), in_tens, "{level:?}, calls of {n_frames}");
        }
    }
}

#[test]
fn denormal_and_large_features_give_what_tract_gives() {
    let proto = built_in();
    for level in levels() {
        let network = Network::recognise(&proto, level).unwrap();
        for size in [1e-42, 1e-20, 1e4] {
            let features: Vec<f32> = features(80, 100).iter().map(|value| value * size).collect();
            let difference =
                difference(&in_calls(&network, &features, CHUNK), &by_tract(&proto, &network, &features));
            assert!(difference < 2e-5, "{level:?}, {size}: {difference}");
        }
    }
}

#[test]
fn streams_share_a_network_and_no_memory() {
    let network = Network::recognise(&built_in(), Level::new()).unwrap();
    let (first, second) = (features(80, 50), features(80, 100)[80 * 50..].to_vec());
    let alone = [&first, &second].map(|features| in_calls(&network, features, CHUNK));
    let mut states = [network.stream(CHUNK), network.stream(CHUNK)];
    let mut together = [Vec::new(), Vec::new()];
    for call in 0..5 {
        for (idx, features) in [&first, &second].into_iter().enumerate() {
            let rows = network.run(&features[call * CHUNK * 80..][..CHUNK * 80], &mut states[idx]);
            (0..CHUNK).for_each(|t| together[idx].extend_from_slice(rows.at(t, 0, 4)));
        }
    }
    assert_eq!(together, alone);
}

#[test]
fn every_other_graph_is_refused() {
    let proto = built_in();
    assert_other_nodes_are_refused(&proto, |proto| Graph::read(proto).is_some());
    // Floats belong to the network, as weights do.
    assert_other_constants_are_refused(
        &proto,
        |tensor| tensor.data_type == 1,
        |proto| Graph::read(proto).is_some(),
    );
}

#[test]
fn other_inputs_outputs_and_weights_are_refused() {
    let refused = |what: &str, change: &dyn Fn(&mut tract_onnx::pb::GraphProto)| {
        let mut proto = built_in();
        change(proto.graph.as_mut().unwrap());
        assert!(Network::recognise(&proto, Level::new()).is_none(), "{what}");
    };
    refused("a missing output", &|graph| drop(graph.output.pop()));
    refused("outputs in another order", &|graph| graph.output.swap(1, 2));
    refused("a missing input", &|graph| drop(graph.input.pop()));
    refused("inputs in another order", &|graph| graph.input.swap(1, 2));
    refused("a further node", &|graph| {
        let mut node = graph.node[4].clone();
        node.output[0].push('_');
        graph.node.push(node);
    });
    refused("missing weights", &|graph| drop(graph.initializer.remove(7)));
    refused("weights of another shape", &|graph| graph.initializer[4].dims.reverse());
    refused("weights that are no numbers", &|graph| {
        graph.initializer[0].raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let mut proto = built_in();
    proto.opset_import[0].version = 16;
    assert!(Network::recognise(&proto, Level::new()).is_none(), "version 16 of the operators");
}
