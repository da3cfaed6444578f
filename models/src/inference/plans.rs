//! A voice model's graph in tract: one optimised plan for each window length, and one for any.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use crate::operators;

type Plan = Arc<TypedRunnableModel>;

/// What failed, and tract's words.
pub(crate) type PlanError = (&'static str, String);

/// The plan for any length is built at its first use; it takes a quarter to a half longer.
pub(crate) struct Plans {
    proto: ModelProto,
    n_mels: usize,
    by_length: BTreeMap<usize, Plan>,
    any_length: OnceLock<Result<Plan, String>>,
}

impl Plans {
    pub(crate) fn new(proto: ModelProto, n_mels: usize) -> Self {
        Self { proto, n_mels, by_length: BTreeMap::new(), any_length: OnceLock::new() }
    }

    /// Builds the plan for windows of `n_frames`.
    pub(crate) fn prepare(&mut self, n_frames: usize) -> Result<(), PlanError> {
        if !self.by_length.contains_key(&n_frames) {
            let plan = build(&self.proto, self.n_mels, Some(n_frames))?;
            self.by_length.insert(n_frames, plan);
        }
        Ok(())
    }

    /// Builds the plan for windows of any length.
    pub(crate) fn prepare_any_length(&self) -> Result<(), PlanError> {
        let plan = build(&self.proto, self.n_mels, None)?;
        let _ = self.any_length.set(Ok(plan));
        Ok(())
    }

    /// The network's first output for features `(n_mels, n_frames)`, row-major.
    pub(crate) fn run(&self, features: &[f32], n_frames: usize) -> Result<Vec<f32>, String> {
        let failed = |e: TractError| format!("{e:#}");
        let plan = match self.by_length.get(&n_frames) {
            Some(plan) => plan,
            None => self
                .any_length
                .get_or_init(|| {
                    build(&self.proto, self.n_mels, None).map_err(|(stage, e)| format!("not {stage}: {e}"))
                })
                .as_ref()
                .map_err(Clone::clone)?,
        };
        let input = Tensor::from_shape(&[1, self.n_mels, n_frames], features).map_err(failed)?;
        let output = plan.run(tvec!(input.into())).map_err(failed)?;
        let values = output
            .first()
            .ok_or_else(|| "the network has no output".to_owned())?
            .to_plain_array_view::<f32>()
            .map_err(failed)?;
        Ok(values.iter().copied().collect())
    }
}

/// Builds the optimised plan for `n_frames`, or for any length.
fn build(proto: &ModelProto, n_mels: usize, n_frames: Option<usize>) -> Result<Plan, PlanError> {
    let stage = |stage: &'static str| move |e: TractError| (stage, format!("{e:#}"));
    let model = tract_onnx::onnx().model_for_proto_model(proto).map_err(stage("read"))?;
    let fact = match n_frames {
        Some(n) => f32::fact([1, n_mels, n]),
        None => {
            let frames = model.symbols.sym("n_frames");
            f32::fact([1.to_dim(), n_mels.to_dim(), frames.to_dim()])
        }
    };
    model
        .with_input_fact(0, fact.into())
        .map_err(stage("given its input"))?
        .into_typed()
        .and_then(operators::optimise)
        .map_err(stage("optimised"))?
        .into_runnable()
        .map_err(stage("prepared"))
}
