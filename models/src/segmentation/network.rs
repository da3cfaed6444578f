//! The two graphs in tract: the encoder once a chunk, the decoder once a token.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::card::{SegmentationError, Shape};
use crate::operators;

type Plan = Arc<TypedRunnableModel>;

pub(super) struct Network {
    pub(super) shape: Shape,
    encoder: Plan,
    decoder: Plan,
}

/// Keys and values of the chunk for every decoder layer.
pub(super) struct Heard {
    keys: TValue,
    values: TValue,
}

/// What the decoder has in mind after a token, and the scores of what may follow it.
pub(super) struct Thought {
    pub(super) state: Vec<f32>,
    pub(super) times: Vec<f32>,
    pub(super) speakers: Vec<f32>,
}

impl Network {
    pub(super) fn load(encoder: &[u8], decoder: &[u8], shape: Shape) -> Result<Self, SegmentationError> {
        let Shape { n_layers, n_heads, state, n_audio_ctx, .. } = shape;
        let size = state / n_heads;
        let features = f32::fact([1, shape.n_mels, 2 * n_audio_ctx]);
        let encoder = plan("encoder.onnx", encoder, |_| vec![features])?;
        let decoder = plan("decoder.onnx", decoder, |model| {
            let n_past = model.symbols.sym("n_past");
            vec![
                i64::fact([1]),
                i64::fact([1]),
                f32::fact([n_past.to_dim(), (2 * n_layers).to_dim(), state.to_dim()]),
                f32::fact([n_layers, n_heads, size, n_audio_ctx]),
                f32::fact([n_layers, n_heads, n_audio_ctx, size]),
            ]
        })?;
        Ok(Self { shape, encoder, decoder })
    }

    /// Runs the encoder on features `(n_mels, n_frames)`.
    pub(super) fn hear(&self, features: &[f32]) -> Result<Heard, SegmentationError> {
        let shape = [1, self.shape.n_mels, 2 * self.shape.n_audio_ctx];
        let input = Tensor::from_shape(&shape, features).map_err(failed)?;
        let mut outputs = self.encoder.run(tvec!(input.into())).map_err(failed)?.into_iter();
        match (outputs.next(), outputs.next()) {
            (Some(keys), Some(values)) => Ok(Heard { keys, values }),
            _ => Err(SegmentationError::Run("the encoder must have two outputs".to_owned())),
        }
    }

    /// Takes the token at this position. `past` has a row for every token before, and one more afterwards.
    pub(super) fn think(
        &self,
        heard: &Heard,
        token: usize,
        position: usize,
        past: &mut Vec<f32>,
    ) -> Result<Thought, SegmentationError> {
        let shape = [position, 2 * self.shape.n_layers, self.shape.state];
        let inputs = tvec!(
            tensor1(&[token as i64]).into(),
            tensor1(&[position as i64]).into(),
            Tensor::from_shape(&shape, past).map_err(failed)?.into(),
            heard.keys.clone(),
            heard.values.clone(),
        );
        let outputs = self.decoder.run(inputs).map_err(failed)?;
        let [state, times, speakers, row] = outputs.as_slice() else {
            return Err(SegmentationError::Run("the decoder must have four outputs".to_owned()));
        };
        past.extend(values(row)?);
        Ok(Thought { state: values(state)?, times: values(times)?, speakers: values(speakers)? })
    }
}

fn values(output: &TValue) -> Result<Vec<f32>, SegmentationError> {
    Ok(output.to_plain_array_view::<f32>().map_err(failed)?.iter().copied().collect())
}

fn failed(error: TractError) -> SegmentationError {
    SegmentationError::Run(format!("{error:#}"))
}

fn plan(
    file: &'static str,
    onnx: &[u8],
    facts: impl FnOnce(&InferenceModel) -> Vec<TypedFact>,
) -> Result<Plan, SegmentationError> {
    let stage = |stage: &'static str| {
        move |e: TractError| SegmentationError::Network { file, stage, reason: format!("{e:#}") }
    };
    let mut model = tract_onnx::onnx().model_for_read(&mut &*onnx).map_err(stage("read"))?;
    for (idx, fact) in facts(&model).into_iter().enumerate() {
        model.set_input_fact(idx, fact.into()).map_err(stage("given its inputs"))?;
    }
    model
        .into_typed()
        .and_then(operators::optimise)
        .map_err(stage("optimised"))?
        .into_runnable()
        .map_err(stage("prepared"))
}
