"""Teachers: their answers kept and reused, weights by source, targets, and what a batch holds of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import test_foreign
from diarized_train.augment import AugmentParams
from diarized_train.data import Cache, DataError, build_cache, load_cache
from diarized_train.device_loader import DeviceSampler
from diarized_train.foreign import CheckpointError
from diarized_train.front_end import FrontEnd
from diarized_train.heads import Heads, fit_heads
from diarized_train.loader import Batch, Loader, LoaderParams, Sampler
from diarized_train.targets import SourceWeights, blend, load_targets, weights_from_eer
from diarized_train.teachers import (
    CamPlusPlusTeacher,
    TeacherError,
    embed_cache,
    open_teacher,
    table_path,
)
from diarized_train.weigh import weigh_teachers
from test_data import write_kaldi

LENGTHS = [9000, 20000, 40000, 16000, 3000, 17000, 30000, 16001]


class Counting:
    """A teacher whose answer follows from the piece, and that counts its calls."""

    name, embedding_dim, batch_pieces = "counting", 3, 2

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked = 0
        self.fail_after = fail_after

    def embed(self, pieces):
        if self.fail_after is not None and self.asked >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += len(pieces)
        rows = np.stack([[1.0, len(p), float(p[0])] for p in pieces]).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cache_of(path: Path, lengths: list[int], speakers: int, level: int, sets: list[str] | None = None) -> Cache:
    """Constant samples that name their piece, on disk as ``prepare`` leaves them."""
    rows, parts, position = [], [], 0
    for piece, length in enumerate(lengths):
        rows.append((piece % speakers, position, position + length))
        parts.append(np.full(length, level + piece, np.int16))
        position += length
    np.concatenate(parts).tofile(path.with_suffix(".i16"))
    table = {"speakers": [f"s{i}" for i in range(speakers)], "sets": sets or ["a"] * speakers, "pieces": rows}
    path.with_suffix(".json").write_text(json.dumps(table))
    return load_cache(path)


def keep(path: Path, teacher: str, table: np.ndarray) -> None:
    np.savez(table_path(path, teacher), embeddings=table, keys=np.arange(len(table), dtype=np.uint64))


def random_table(n: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_piece_is_asked_for_once(tmp_path):
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    first = embed_cache(Counting(), cache, tmp_path / "c")
    again = Counting()
    np.testing.assert_array_equal(embed_cache(again, cache, tmp_path / "c"), first)
    assert again.asked == 0
    # The same pieces in another order and one that is new: only that one is asked for.
    moved = cache_of(tmp_path / "c", [*LENGTHS[::-1], 5000], 4, 1000)
    moved.samples = np.array(moved.samples)
    for row, (_, start, end) in enumerate(moved.pieces[:-1]):
        moved.samples[start:end] = 1000 + len(LENGTHS) - 1 - row
    got = embed_cache(again, moved, tmp_path / "c")
    assert again.asked == 1
    np.testing.assert_array_equal(got[:-1], first[::-1])


def test_interrupted_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("diarized_train.teachers.SAVE_EVERY_PIECES", 2)
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    with pytest.raises(KeyboardInterrupt):
        embed_cache(Counting(fail_after=6), cache, tmp_path / "c")
    rest = Counting()
    table = embed_cache(rest, cache, tmp_path / "c")
    assert rest.asked == 2 and table.any(1).all()


def test_a_share_of_the_pieces_is_even_and_kept(tmp_path):
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    teacher = Counting()
    table = embed_cache(teacher, cache, tmp_path / "c", share=0.5)
    assert teacher.asked == 4 and table.any(1).sum() == 4
    embed_cache(teacher, cache, tmp_path / "c")
    assert teacher.asked == 8


def test_kept_answers_that_cannot_be_used_are_named(tmp_path):
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    keep(tmp_path / "c", "counting", random_table(8, 5, 1))
    with pytest.raises(TeacherError, match=r"c\.counting\.npz: embeddings of 5 values, counting gives 3"):
        embed_cache(Counting(), cache, tmp_path / "c")
    table_path(tmp_path / "c", "counting").write_bytes(b"PK not an archive")
    with pytest.raises(TeacherError, match=r"c\.counting\.npz cannot be read .*delete it"):
        embed_cache(Counting(), cache, tmp_path / "c")


def test_teachers_are_opened_by_name(tmp_path):
    torch.save(test_foreign.campplus_checkpoint(), tmp_path / "campplus.pt")
    teacher = open_teacher(f"campplus={tmp_path / 'campplus.pt'}")
    assert (teacher.name, teacher.embedding_dim) == ("campplus", 192)
    for spec, words in (
        ("nobody", "must be one of resemblyzer, campplus"),
        ("campplus", "campplus=WHEEL-OR-PT"),
        ("resemblyzer=far", "whole number"),
        (f"model={tmp_path}", "no model folder"),
    ):
        with pytest.raises(TeacherError, match=words):
            open_teacher(spec)
    torch.save(test_foreign.taoruijie_checkpoint(), tmp_path / "ecapa.pt")
    with pytest.raises(TeacherError, match="this is TaoRuijie"):
        open_teacher(f"campplus={tmp_path / 'ecapa.pt'}")
    with pytest.raises(CheckpointError, match="no such file"):
        open_teacher(f"campplus={tmp_path / 'gone.pt'}")


def test_a_batch_of_unequal_pieces_is_embedded_as_each_alone(tmp_path):
    torch.save(test_foreign.campplus_checkpoint(), tmp_path / "campplus.pt")
    teacher = CamPlusPlusTeacher(tmp_path / "campplus.pt")
    rng = np.random.default_rng(4)
    pieces = [(3000 * rng.standard_normal(n)).astype(np.int16) for n in (32000, 16000, 24000, 16100, 32050)]
    together = teacher.embed(pieces)
    alone = np.concatenate([teacher.embed([p]) for p in pieces])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    # Pieces of nearly one length are cut to the shortest; the others are whole.
    np.testing.assert_allclose(together[[0, 1, 2]], alone[[0, 1, 2]], atol=1e-4)
    assert (together * alone).sum(1).min() > 0.999


def test_weights_follow_the_error_rates():
    better, worse = weights_from_eer([1.0, 3.0])
    assert better == pytest.approx(0.9) and worse == pytest.approx(0.1)
    assert weights_from_eer([2.0, 2.0]) == pytest.approx((0.5, 0.5))
    # No error on a few speakers is no proof that nothing else is worth learning from.
    assert weights_from_eer([0.0, 0.5]) == pytest.approx((0.5, 0.5))
    assert min(weights_from_eer([0.5, 50.0])) > 0.04


def test_weights_are_chosen_where_a_teacher_is_good(tmp_path):
    """Two sets of twelve speakers; each teacher knows the voices of one and guesses at the other's."""
    sets = ["one"] * 12 + ["two"] * 12
    lengths = [50000] * 96
    cache = cache_of(tmp_path / "val", lengths, 24, 0, sets)
    speakers = cache.pieces[:, 0]
    voices, noise = random_table(24, 8, 1), random_table(96, 8, 2)
    for name, known in (("a", speakers < 12), ("b", speakers >= 12)):
        table = np.where(known[:, None], voices[speakers] + 0.05 * noise, noise)
        keep(tmp_path / "val", name, (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32))
    out = tmp_path / "weights.json"
    weigh_teachers(tmp_path, ("a", "b"), out)
    table = SourceWeights.read(out, ("b", "a"))
    assert table.of("one")[1] > 0.9 and table.of("two")[0] > 0.9
    assert 0.3 < table.of("never seen")[0] < 0.7
    with pytest.raises(DataError, match="no weights for a teacher"):
        SourceWeights.read(out, ("a", "c"))
    out.write_text('{"teachers": ["a"], "otherwise": [0], "sets": {}}')
    with pytest.raises(DataError, match="weights of otherwise"):
        SourceWeights.read(out, ("a",))


def test_targets_are_centred_and_drawn_to_their_speaker(tmp_path):
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    table = random_table(8, 6, 3)
    table[2] = 0.0
    got = blend(cache, table, np.zeros(6, np.float32))
    assert not got[2].any()
    np.testing.assert_allclose(np.linalg.norm(got[[0, 1, 3]], axis=1), 1.0, atol=1e-5)
    # Pieces 0 and 4 are one speaker's: nearer to each other than the teacher has them.
    assert got[0] @ got[4] > table[0] @ table[4]
    np.testing.assert_allclose(got[6], table[6], atol=1e-5)


def prepared(tmp_path: Path, sets: list[str] | None = None) -> LoaderParams:
    """Two labelled caches and one without speakers, two teachers of unlike sizes."""
    for name, level in (("plain", 1000), ("fast", 2000), ("free", 3000)):
        speakers = 8 if name == "free" else 4
        cache_of(tmp_path / name, LENGTHS, speakers, level, ["free"] * 8 if name == "free" else sets)
        first, second = random_table(8, 6, level), random_table(8, 4, level + 1)
        # Piece 3 neither has embedded, piece 5 the second alone.
        first[[3, 5]] = 0.0
        second[3] = 0.0
        keep(tmp_path / name, "one", first)
        keep(tmp_path / name, "two", second)
    weights = {"teachers": ["one", "two"], "otherwise": [0.5, 0.5], "sets": {"a": [0.8, 0.2]}}
    (tmp_path / "weights.json").write_text(json.dumps(weights))
    return LoaderParams(
        (str(tmp_path / "plain"), str(tmp_path / "fast")),
        None,
        40,
        seed=3,
        teachers=("one", "two"),
        weights=str(tmp_path / "weights.json"),
        unlabelled=(str(tmp_path / "free"),),
        unlabelled_share=0.25,
    )


def draws(params: LoaderParams, kind: str):
    rng = np.random.default_rng(5)
    if kind == "processor":
        sampler = Sampler(params)
        return sampler, lambda: sampler.draw(16000, rng)
    sampler = DeviceSampler(params, torch.device("cpu"))
    random = torch.Generator().manual_seed(6)
    return sampler.sampler, lambda: tuple(x.numpy() for x in sampler.draw(16000, rng, random))


@pytest.mark.parametrize("kind", ["processor", "device"])
def test_a_batch_holds_labelled_and_free_pieces_with_their_teachers(kind, tmp_path):
    sampler, draw = draws(prepared(tmp_path), kind)
    assert sampler.dims == (6, 4)
    seen = set()
    for _ in range(8):
        crops, classes, targets, weights = draw()
        assert (classes[:30] >= 0).all() and (classes[30:] == -1).all()
        for crop, class_idx, target, weight in zip(crops, classes, targets, weights, strict=True):
            value = round(float(crop[0]) * 32768)
            cache_idx, piece = value // 1000 - 1, value % 1000
            seen.add(value)
            assert piece != 3, "a piece that no teacher has embedded"
            assert class_idx == (-1 if cache_idx == 2 else cache_idx * 4 + piece % 4)
            first = 0.0 if piece == 5 else 0.5 if cache_idx == 2 else 0.8
            np.testing.assert_allclose(weight, [first, 1.0 - first], atol=1e-6)
            np.testing.assert_allclose(target, sampler.targets[cache_idx].vectors[piece], atol=1e-6)
    assert len(seen) == 21


@pytest.mark.parametrize("kind", ["processor", "device"])
def test_held_out_sets_are_not_drawn(kind, tmp_path):
    params = prepared(tmp_path, ["a", "a", "b", "b"])
    params = LoaderParams(**{**params.__dict__, "hold_out": ("b",)})
    _, draw = draws(params, kind)
    for _ in range(5):
        _, classes, _, _ = draw()
        assert set(np.unique(classes)) <= {-1, 0, 1, 4, 5}
    with pytest.raises(DataError, match="no set c; there are a, b"):
        Sampler(LoaderParams(**{**params.__dict__, "hold_out": ("c",)}))
    with pytest.raises(DataError, match="not held out"):
        Sampler(LoaderParams(**{**params.__dict__, "hold_out": ("a", "b")}))


def test_a_teacher_that_has_not_been_asked_is_named(tmp_path):
    cache = cache_of(tmp_path / "c", LENGTHS, 4, 1000)
    even = SourceWeights.even(("one",))
    with pytest.raises(TeacherError, match=r"c\.one\.npz: no such file; prepare"):
        load_targets([tmp_path / "c"], [cache], even)
    keep(tmp_path / "c", "one", random_table(7, 6, 1))
    with pytest.raises(TeacherError, match="has 7 rows, the cache 8 pieces"):
        load_targets([tmp_path / "c"], [cache], even)
    keep(tmp_path / "c", "one", np.zeros((8, 6), np.float32))
    with pytest.raises(TeacherError, match="holds no embedding yet"):
        load_targets([tmp_path / "c"], [cache], even)


def batch_of(n: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    targets = torch.cat(
        [torch.nn.functional.normalize(torch.randn(n, d, generator=random)) for d in (6, 4)], 1
    )
    weights = torch.rand(n, 2, generator=random)
    weights = weights / weights.sum(1, keepdim=True)
    classes = torch.arange(n) % 5 - 1
    return Batch(torch.zeros(n, 80, 98), classes, targets, weights)


def test_losses_of_two_teachers_are_what_they_are_said_to_be():
    batch = batch_of(12, 1)
    heads = Heads(8, 4, (6, 4))
    embedding = torch.randn(12, 8, generator=torch.Generator().manual_seed(2))
    losses = heads(embedding, batch, 0.0, 30.0)
    expected = torch.zeros(())
    for project, target, weight in zip(
        heads.projects, batch.targets.split((6, 4), 1), batch.weights.T, strict=True
    ):
        for row in range(12):
            cosine = torch.nn.functional.cosine_similarity(project(embedding[row]), target[row], dim=0)
            expected = expected + (weight[row] * (1 - cosine)).detach() / 12
    assert losses["distillation"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert float(losses["distillation_0"] + losses["distillation_1"]) == pytest.approx(expected.item(), rel=1e-4)
    # Crops without a speaker do not count for the classes.
    known = batch.classes >= 0
    cosine = torch.nn.functional.normalize(embedding[known]) @ torch.nn.functional.normalize(heads.centres).T
    plain = torch.nn.functional.cross_entropy(30.0 * cosine, batch.classes[known])
    assert float(losses["aam"]) == pytest.approx(float(plain), rel=1e-3)


def test_relations_are_those_of_the_teachers_that_count():
    """One teacher alone counts: the loss is that of its own cosines, whatever the other says."""
    batch = batch_of(10, 3)
    batch.weights = torch.tensor([[1.0, 0.0]]).repeat(10, 1)
    heads = Heads(8, 4, (6, 4))
    unit = torch.nn.functional.normalize(torch.randn(10, 8, generator=torch.Generator().manual_seed(4)))
    first = batch.targets[:, :6]
    off = ~torch.eye(10, dtype=torch.bool)
    expected = ((unit @ unit.T - first @ first.T)[off] ** 2).mean()
    assert float(heads.relation(unit, batch.targets, batch.weights)) == pytest.approx(float(expected), rel=1e-4)


def test_heads_are_fitted_to_what_the_network_knows():
    """A network that already gives a linear image of both teachers' targets needs no step to match them."""

    class Warm(torch.nn.Module):
        config = type("Config", (), {"embedding_dim": 10})

        def forward(self, features):
            return self.given

    class Fixed:
        def __next__(self):
            batch = batch_of(64, 7)
            network.given = batch.targets @ mix
            return batch

    network = Warm()
    mix = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(8)))[0]
    heads = Heads(10, 4, (6, 4))
    fit_heads(network, heads, Fixed(), 64, 1)
    batch = batch_of(64, 7)
    assert float(heads.distilled(batch.targets @ mix, batch.targets, batch.weights).sum()) < 0.01


def test_the_loader_process_makes_such_batches(tmp_path):
    params = prepared(tmp_path)
    mixes = [([1.0], [1.0]), ([1.0], [1.0])]
    augment = AugmentParams(echo=0.5, opus=0.2)
    loader = Loader(params, FrontEnd(), augment, mixes)
    try:
        batch = next(loader).to(torch.device("cpu"))
    finally:
        loader.close()
    assert batch.features.shape == (40, 80, 98) and torch.isfinite(batch.features).all()
    assert batch.targets.shape == (40, 10) and batch.weights.shape == (40, 2)


def test_speech_without_speakers_is_cut_by_utterance(tmp_path):
    data = write_kaldi(tmp_path)
    (data / "utt2spk").unlink()
    with pytest.raises(DataError, match="--unlabelled"):
        build_cache(data, tmp_path / "work" / "train", 1.0, 4.0, 1)
    cache = build_cache(data, tmp_path / "work" / "free", 1.0, 4.0, 1, allow_unlabelled=True)
    assert cache.speakers == ["ann_0", "ann_1", "bob_0", "bob_1"]


def test_audio_that_cannot_be_read_is_named(tmp_path):
    data = write_kaldi(tmp_path)
    (tmp_path / "audio" / "ann.wav").write_bytes(b"RIFF no more")
    with pytest.raises(DataError, match=r"ann\.wav cannot be read as audio"):
        build_cache(data, tmp_path / "work" / "train", 1.0, 4.0, 1)
