//! Writes graphs of NeXt-TDNNs of any shape with random weights, node for node as the training recipe exports them.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType,
};

/// Shape of a network.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) n_mels: usize,
    pub(super) n_channels: usize,
    /// Blocks of each stage.
    pub(super) depths: Vec<usize>,
    /// Taps of each scale.
    pub(super) scales: Vec<usize>,
    pub(super) n_embedding: usize,
    pub(super) seed: u64,
}

/// The network's graph.
pub(super) fn export(config: &Config) -> ModelProto {
    let mut graph = Export { graph: GraphProto::default(), state: config.seed | 1 };
    let n = config.n_channels;
    let mut x = graph.conv("features", [n, config.n_mels, 4], 1);
    x = graph.norm(&x);
    x = graph.affine(&x, n);
    let mut stages = Vec::new();
    for &depth in &config.depths {
        for _ in 0..depth {
            x = graph.block(&x, config);
        }
        stages.push(x.clone());
    }
    let wide = n * stages.len();
    x = graph.concat(&stages);
    x = graph.conv(&x, [wide, wide, 1], 1);
    x = graph.norm(&x);
    x = graph.affine(&x, wide);
    let embedding = graph.pool(&x, wide, config.n_embedding);
    let value = |name: &str, dims: Vec<Dim>| {
        let dim =
            dims.into_iter().map(|value| Dimension { value: Some(value), ..Default::default() }).collect();
        let tensor = TensorType { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
        let kind = TypeProto { value: Some(Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() }
    };
    let frames = Dim::DimParam("n_frames".to_owned());
    let mut graph = graph.graph;
    graph.input =
        vec![value("features", vec![Dim::DimValue(1), Dim::DimValue(config.n_mels as i64), frames])];
    graph.output = vec![value(&embedding, vec![Dim::DimValue(1), Dim::DimValue(config.n_embedding as i64)])];
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..Default::default()
    }
}

struct Export {
    graph: GraphProto,
    state: u64,
}

impl Export {
    /// Random values in `[-size, size]`.
    fn random(&mut self, n: usize, size: f32) -> Vec<f32> {
        let mut value = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            ((self.state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * size
        };
        (0..n).map(|_| value()).collect()
    }

    fn tensor(&self, dims: &[usize]) -> TensorProto {
        let name = format!("tensor_{}", self.graph.initializer.len() + self.graph.node.len());
        TensorProto { dims: dims.iter().map(|&n| n as i64).collect(), name, ..Default::default() }
    }

    fn weight(&mut self, dims: &[usize], size: f32) -> String {
        let values = self.random(dims.iter().product(), size);
        let mut tensor = self.tensor(dims);
        tensor.data_type = DataType::Float as i32;
        tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph.initializer.push(tensor.clone());
        tensor.name
    }

    fn constant(&mut self, mut tensor: TensorProto) -> String {
        let name = std::mem::take(&mut tensor.name);
        let value = AttributeProto {
            name: "value".to_owned(),
            r#type: AttributeType::Tensor as i32,
            t: Some(tensor),
            ..Default::default()
        };
        self.graph.node.push(NodeProto {
            output: vec![name.clone()],
            op_type: "Constant".to_owned(),
            attribute: vec![value],
            ..Default::default()
        });
        name
    }

    fn scalar(&mut self, value: f32) -> String {
        let raw_data = value.to_le_bytes().to_vec();
        let tensor = self.tensor(&[]);
        self.constant(TensorProto { data_type: DataType::Float as i32, raw_data, ..tensor })
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = self.tensor(&[values.len()]);
        self.constant(TensorProto { data_type: DataType::Int64 as i32, raw_data, ..tensor })
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = format!("value_{}", self.graph.node.len());
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.clone()],
            op_type: op.to_owned(),
            attribute,
            ..Default::default()
        });
        output
    }

    /// A convolution with weights of shape `dims`.
    fn conv(&mut self, x: &str, dims: [usize; 3], group: usize) -> String {
        let size = (3.0 / (dims[1] * dims[2]) as f32).sqrt();
        let (weight, bias) = (self.weight(&dims, size), self.weight(&dims[..1], 0.3));
        let pad = if group > 1 { dims[2] as i64 / 2 } else { 0 };
        let attributes = vec![
            ints("dilations", &[1]),
            int("group", group as i64),
            ints("kernel_shape", &[dims[2] as i64]),
            ints("pads", &[pad, pad]),
            ints("strides", &[1]),
        ];
        self.node("Conv", &[x, &weight, &bias], attributes)
    }

    fn concat(&mut self, parts: &[String]) -> String {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.node("Concat", &parts, vec![int("axis", 1)])
    }

    fn mean(&mut self, x: &str) -> String {
        self.node("ReduceMean", &[x], vec![ints("axes", &[1]), int("keepdims", 1)])
    }

    fn sum(&mut self, x: &str, keep: i64) -> String {
        let axes = self.integers(&[2]);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", keep)])
    }

    fn norm(&mut self, x: &str) -> String {
        let mean = self.mean(x);
        let centred = self.node("Sub", &[x, &mean], vec![]);
        let square = self.node("Mul", &[&centred, &centred], vec![]);
        let variance = self.mean(&square);
        let eps = self.scalar(1e-6);
        let sum = self.node("Add", &[&variance, &eps], vec![]);
        let deviation = self.node("Sqrt", &[&sum], vec![]);
        self.node("Div", &[&centred, &deviation], vec![])
    }

    fn affine(&mut self, x: &str, n: usize) -> String {
        let (gain, offset) = (self.weight(&[1, n, 1], 1.3), self.weight(&[1, n, 1], 0.3));
        let x = self.node("Mul", &[x, &gain], vec![]);
        self.node("Add", &[&x, &offset], vec![])
    }

    fn gelu(&mut self, x: &str) -> String {
        let root = self.scalar(std::f32::consts::SQRT_2);
        let scaled = self.node("Div", &[x, &root], vec![]);
        let erf = self.node("Erf", &[&scaled], vec![]);
        let one = self.scalar(1.0);
        let raised = self.node("Add", &[&erf, &one], vec![]);
        let product = self.node("Mul", &[x, &raised], vec![]);
        let half = self.scalar(0.5);
        self.node("Mul", &[&product, &half], vec![])
    }

    fn block(&mut self, x: &str, config: &Config) -> String {
        let n = config.n_channels;
        let y = self.conv(x, [n, n, 1], 1);
        let size = n / config.scales.len();
        let sizes = self.integers(&vec![size as i64; config.scales.len()]);
        self.node("Split", &[&y, &sizes], vec![int("axis", 1)]);
        let parts: Vec<String> = (0..config.scales.len()).map(|idx| format!("{y}_part_{idx}")).collect();
        self.graph.node.last_mut().unwrap().output = parts.clone();
        let joined: Vec<String> = parts
            .iter()
            .zip(&config.scales)
            .map(|(part, &taps)| self.conv(part, [size, 1, taps], size))
            .collect();
        let y = self.concat(&joined);
        let y = self.gelu(&y);
        let y = self.conv(&y, [n, n, 1], 1);
        let x = self.node("Add", &[x, &y], vec![]);

        let y = self.norm(&x);
        let y = self.conv(&y, [4 * n, n, 1], 1);
        let y = self.gelu(&y);
        let square = self.node("Mul", &[&y, &y], vec![]);
        let energy = self.sum(&square, 1);
        let energy = self.node("Sqrt", &[&energy], vec![]);
        let mean = self.mean(&energy);
        let eps = self.scalar(1e-6);
        let mean = self.node("Add", &[&mean, &eps], vec![]);
        let share = self.node("Div", &[&energy, &mean], vec![]);
        let gamma = self.weight(&[1, 4 * n, 1], 0.5);
        let response = self.node("Mul", &[&gamma, &share], vec![]);
        let one = self.scalar(1.0);
        let response = self.node("Add", &[&response, &one], vec![]);
        let y = self.node("Mul", &[&y, &response], vec![]);
        let y = self.conv(&y, [n, 4 * n, 1], 1);
        self.node("Add", &[&x, &y], vec![])
    }

    fn pool(&mut self, x: &str, wide: usize, n_embedding: usize) -> String {
        let n_hidden = wide / 8;
        let hidden = self.conv(x, [n_hidden, wide, 1], 1);
        let hidden = self.node("Tanh", &[&hidden], vec![]);
        let logits = self.conv(&hidden, [wide, n_hidden, 1], 1);
        let weights = self.node("Softmax", &[&logits], vec![int("axis", 2)]);
        let weighted = self.node("Mul", &[x, &weights], vec![]);
        let mean = self.sum(&weighted, 0);
        let squares = self.node("Mul", &[x, &weighted], vec![]);
        let squares = self.sum(&squares, 0);
        let square = self.node("Mul", &[&mean, &mean], vec![]);
        let variance = self.node("Sub", &[&squares, &square], vec![]);
        let least = self.scalar(1e-5);
        let variance = self.node("Clip", &[&variance, &least, ""], vec![]);
        let deviation = self.node("Sqrt", &[&variance], vec![]);
        let pooled = self.concat(&[mean, deviation]);
        let size = (3.0 / (2 * wide) as f32).sqrt();
        let weight = self.weight(&[n_embedding, 2 * wide], size);
        let bias = self.weight(&[n_embedding], 0.3);
        let attributes = vec![float("alpha", 1.0), float("beta", 1.0), int("transB", 1)];
        self.node("Gemm", &[&pooled, &weight, &bias], attributes)
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}
