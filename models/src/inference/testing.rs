//! What the tests of the networks share.

use fearless_simd::Level;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

/// The kinds of processor that this one can stand in for, itself first.
pub(super) fn levels() -> Vec<Level> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    let lower = [
        best.as_avx512().map(Level::Avx512),
        best.as_avx2().map(Level::Avx2),
        best.as_sse4_2().map(Level::Sse4_2),
        best.as_sse2().map(Level::Sse2),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let lower = [Some(best)];
    lower.into_iter().flatten().collect()
}

/// Largest difference, as a share of the largest value.
pub(super) fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    a.iter().zip(b).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

/// `proto` with one thing changed at node `idx`.
fn changed(proto: &ModelProto, idx: usize, change: impl Fn(&mut NodeProto)) -> ModelProto {
    let mut proto = proto.clone();
    change(&mut proto.graph.as_mut().expect("there is a graph").node[idx]);
    proto
}

/// `proto` is recognised, and not when a node has another operator, domain, attribute, input or output.
pub(super) fn assert_other_nodes_are_refused(
    proto: &ModelProto,
    is_recognised: impl Fn(&ModelProto) -> bool,
) {
    assert!(is_recognised(proto));
    let nodes = &proto.graph.as_ref().expect("there is a graph").node;
    for (idx, node) in nodes.iter().enumerate().filter(|(_, node)| node.op_type != "Constant") {
        let refused = |what: &str, change: &dyn Fn(&mut NodeProto)| {
            let other = changed(proto, idx, change);
            assert!(!is_recognised(&other), "{what} of node {idx}, {}", node.op_type);
        };
        refused("another operator", &|node| node.op_type = "Neg".to_owned());
        refused("another domain", &|node| node.domain = "com.example".to_owned());
        refused("another input", &|node| node.input[0] = "features_".to_owned());
        refused("another output", &|node| node.output[0].push('_'));
        if node.input.len() > 1 && node.input[0] != node.input[1] {
            refused("inputs the other way round", &|node| node.input.reverse());
        }
        for at in 0..node.attribute.len() {
            refused("a missing attribute", &|node| drop(node.attribute.remove(at)));
            refused("another attribute", &|node| {
                let attribute = &mut node.attribute[at];
                attribute.i += 1;
                attribute.f += 1.0;
                attribute.ints.iter_mut().for_each(|value| *value += 1);
            });
        }
    }
}

/// `proto` is not recognised when a constant of its graph has another value; weights may have any.
pub(super) fn assert_other_constants_are_refused(
    proto: &ModelProto,
    is_weight: impl Fn(&TensorProto) -> bool,
    is_recognised: impl Fn(&ModelProto) -> bool,
) {
    let nodes = &proto.graph.as_ref().expect("there is a graph").node;
    for (idx, node) in nodes.iter().enumerate().filter(|(_, node)| node.op_type == "Constant") {
        if is_weight(node.attribute[0].t.as_ref().expect("a constant has a value")) {
            continue;
        }
        let other = changed(proto, idx, |node| {
            node.attribute[0].t.as_mut().expect("a constant has a value").raw_data[0] ^= 1;
        });
        assert!(!is_recognised(&other), "constant {idx}");
    }
}
