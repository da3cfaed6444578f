//! Labels recordings in this process, and keeps their embeddings in a folder by what was embedded, so that a second
//! time costs a twentieth of the first.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use diarized::audio_file::{AudioFile, MonoFile};
use diarized_dsp::ChannelSelect;
use diarized_models::diarizer::SecondPace;
use diarized_models::{Diarizer, DiarizerParams, Embedder, Embedding, ModelSource};

use crate::recordings::name_of;

/// A voice model, settings, and the embeddings known so far.
#[derive(Debug)]
pub struct CachedLabeller {
    embedder: Embedder,
    second: Option<Embedder>,
    params: DiarizerParams,
    cache: PathBuf,
}

impl CachedLabeller {
    /// With the model in the folder `model`, or the one inside the binary; `cache` is made unless it is there.
    ///
    /// # Errors
    /// A model that cannot be loaded, or a folder that cannot be made.
    pub fn new(model: Option<&Path>, cache: &Path, params: DiarizerParams) -> anyhow::Result<Self> {
        std::fs::create_dir_all(cache)?;
        let source = model.map_or(ModelSource::Builtin, |folder| ModelSource::Folder(folder.to_owned()));
        let embedder = Embedder::load(&source, &Diarizer::window_frames(&params))?;
        Ok(Self { embedder, second: None, params, cache: cache.to_owned() })
    }

    /// With the model in the folder `second` as the second one, if one is given.
    ///
    /// # Errors
    /// A model that cannot be loaded.
    pub fn with_second(self, second: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = second else { return Ok(self) };
        let source = ModelSource::Folder(folder.to_owned());
        let second = Embedder::load(&source, &Diarizer::window_frames(&self.params))?;
        Ok(Self { second: Some(second), ..self })
    }

    /// The settings.
    #[must_use]
    pub fn params(&self) -> &DiarizerParams {
        &self.params
    }

    /// Labels `audio` as the daemon would; `look` sees the diarizer after each block and after the end.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, or embeddings that cannot be kept.
    pub fn label(&self, audio: &Path, look: impl FnMut(&mut Diarizer)) -> anyhow::Result<Diarizer> {
        self.label_with(audio, self.params.clone(), look)
    }

    /// [`label`](Self::label) with other settings. Windows must be as long as in the settings of this value.
    ///
    /// # Errors
    /// As of [`label`](Self::label).
    pub fn label_with(
        &self,
        audio: &Path,
        params: DiarizerParams,
        mut look: impl FnMut(&mut Diarizer),
    ) -> anyhow::Result<Diarizer> {
        let mut cache = self.cache_of(audio, &self.embedder)?;
        let mut diarizer = Diarizer::new(params, self.embedder.card());
        let mut second = None;
        if let Some(model) = &self.second {
            diarizer = diarizer.with_second_model(model.card(), SecondPace::InStep);
            second = Some((model, self.cache_of(audio, model)?));
        }
        let mut file = MonoFile::new(AudioFile::open(audio)?, ChannelSelect::Mix)?;
        let mut samples = Vec::new();
        loop {
            samples.clear();
            let more = file.read(&mut samples)?;
            if more {
                diarizer.push(&samples)?;
            } else {
                diarizer.finish();
            }
            while let Some(request) = diarizer.poll_work() {
                let embedding = cache
                    .get_or(&request.features, || self.embedder.embed(&request.features, request.n_frames));
                diarizer.provide(request.id, embedding)?;
            }
            if let Some((model, cache)) = &mut second {
                while let Some(request) = diarizer.poll_second() {
                    let embedding =
                        cache.get_or(&request.features, || model.embed(&request.features, request.n_frames));
                    diarizer.provide_second(request.id, embedding)?;
                }
            }
            look(&mut diarizer);
            if !more {
                break;
            }
        }
        cache.save()?;
        if let Some((_, cache)) = second {
            cache.save()?;
        }
        Ok(diarizer)
    }

    fn cache_of(&self, audio: &Path, model: &Embedder) -> anyhow::Result<Cache> {
        let card = model.card();
        let name = format!("{}.{}", name_of(audio)?, &card.onnx_sha256[..8]);
        Cache::open(self.cache.join(name), card.embedding_dim)
    }
}

/// Embeddings by a hash of the features that they are of.
#[derive(Debug)]
struct Cache {
    path: PathBuf,
    dim: usize,
    known: HashMap<u64, Embedding>,
    grown: bool,
}

impl Cache {
    fn open(path: PathBuf, dim: usize) -> anyhow::Result<Self> {
        let mut known = HashMap::new();
        if path.exists() {
            for record in std::fs::read(&path)?.chunks_exact(8 + 4 * dim) {
                let key = u64::from_le_bytes(record[..8].try_into()?);
                let values: Vec<f32> = record[8..]
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                known.insert(key, Embedding::from_raw(&values)?);
            }
        }
        Ok(Self { path, dim, known, grown: false })
    }

    fn get_or<E>(
        &mut self,
        features: &[f32],
        compute: impl FnOnce() -> Result<Embedding, E>,
    ) -> Result<Embedding, E> {
        let mut hasher = DefaultHasher::new();
        features.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        let key = hasher.finish();
        if let Some(embedding) = self.known.get(&key) {
            return Ok(embedding.clone());
        }
        let embedding = compute()?;
        self.known.insert(key, embedding.clone());
        self.grown = true;
        Ok(embedding)
    }

    fn save(&self) -> anyhow::Result<()> {
        if !self.grown {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.known.len() * (8 + 4 * self.dim));
        for (key, embedding) in &self.known {
            bytes.extend_from_slice(&key.to_le_bytes());
            embedding.as_slice().iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
        }
        Ok(std::fs::write(&self.path, bytes)?)
    }
}
