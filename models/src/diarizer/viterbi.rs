//! The most likely sequence of speakers through a run of windows.
//!
//! A first-order hidden Markov model whose states are speakers: each window contributes the evidence of every
//! speaker, each change of speaker costs a constant (Viterbi, 1967; the use for resegmentation follows Fox et al.,
//! "A sticky HDP-HMM with application to speaker diarization", 2011, with fixed states and costs).

/// The best path through `evidence`, shape `(n_windows, n_states)` row-major, in natural-log units.
///
/// `switch_cost` (>= 0) is paid at each change of state; `previous` is the state before the first window, if the
/// path continues one. Ties go to the lower state. Allocates `O(n_windows · n_states)`.
pub(crate) fn best_path(
    evidence: &[f32],
    n_states: usize,
    switch_cost: f32,
    previous: Option<usize>,
) -> Vec<usize> {
    if n_states == 0 || evidence.is_empty() {
        return Vec::new();
    }
    debug_assert_eq!(evidence.len() % n_states, 0);
    let n_windows = evidence.len() / n_states;
    let mut from = vec![0_usize; n_windows * n_states];
    let mut score: Vec<f32> = (0..n_states)
        .map(|s| if previous.is_some_and(|p| p != s) { -switch_cost } else { 0.0 } + evidence[s])
        .collect();
    let mut next = vec![0.0_f32; n_states];
    for w in 1..n_windows {
        let best = argmax(&score);
        for s in 0..n_states {
            let (origin, base) = if score[best] - switch_cost > score[s] {
                (best, score[best] - switch_cost)
            } else {
                (s, score[s])
            };
            from[w * n_states + s] = origin;
            next[s] = base + evidence[w * n_states + s];
        }
        std::mem::swap(&mut score, &mut next);
    }
    let mut state = argmax(&score);
    let mut path = vec![state; n_windows];
    for w in (1..n_windows).rev() {
        state = from[w * n_states + state];
        path[w - 1] = state;
    }
    path
}

/// Index of the first largest value.
pub(crate) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_lapse_is_bridged_and_a_long_one_is_a_turn() {
        let state_0 = [2.0, 0.0];
        let state_1 = [0.0, 2.0];
        let lapse: Vec<f32> = [state_0, state_0, state_1, state_0, state_0].concat();
        assert_eq!(best_path(&lapse, 2, 3.0, None), [0; 5]);
        let turn: Vec<f32> = [state_0, state_0, state_1, state_1, state_1].concat();
        assert_eq!(best_path(&turn, 2, 3.0, None), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn the_state_before_holds_the_path() {
        assert_eq!(best_path(&[0.0, 1.0], 2, 3.0, Some(0)), [0]);
        assert_eq!(best_path(&[0.0, 1.0], 2, 3.0, None), [1]);
    }

    #[test]
    fn equals_exhaustive_search() {
        let mut seed = 1_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 * 6.0 - 3.0
        };
        for _ in 0..50 {
            let evidence: Vec<f32> = (0..15).map(|_| random()).collect();
            let cost = |path: &[usize]| {
                let changes = path.windows(2).filter(|p| p[0] != p[1]).count() as f32;
                let sum: f32 = path.iter().enumerate().map(|(w, s)| evidence[w * 3 + s]).sum();
                sum - 1.5 * changes
            };
            let got = best_path(&evidence, 3, 1.5, None);
            let best = (0..243)
                .map(|code: usize| (0..5).map(|w| code / 3_usize.pow(w) % 3).collect::<Vec<_>>())
                .map(|path| cost(&path))
                .fold(f32::MIN, f32::max);
            assert!((cost(&got) - best).abs() < 1e-4);
        }
    }
}
