//! The search for a better clustering beside one that has settled: rounds of VBx let groups vanish, but not part, and
//! keep apart what a bad start has mixed.

use super::{Item, Outcome, cluster, group_weights, joined, n_groups, numbered, pairs};
use crate::embedding::dot;

/// Steps of a refinement at most.
const REFINEMENTS: usize = 6;
/// Pairs of groups, the nearest ones, that a refinement tries to join.
const REFINED_PAIRS: usize = 6;
/// Groups, the heaviest ones, that it tries to divide.
const REFINED_GROUPS: usize = 16;
/// Evidence by which a refinement must be better.
const REFINED_GAIN: f64 = 0.01;
/// Items that a group must have to be divided.
const LEAST_DIVIDED: usize = 4;
/// Rounds of the power method for the direction in which a group is divided; the sides settle long before the
/// direction does.
const POWER_ROUNDS: usize = 12;

/// Looks for a better clustering beside `outcome`: two groups joined, or one divided along the direction in which it
/// scatters most, and the rounds gone on from there; the best of them is taken, until none is better.
pub(crate) fn refine(items: &[Item<'_>], phi: &[f32], mut outcome: Outcome) -> Outcome {
    for _ in 0..REFINEMENTS {
        let groups = numbered(&outcome.groups);
        let mut near = pairs(items, phi, &groups);
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        let joined = near.iter().take(REFINED_PAIRS).map(|&((a, b), _)| joined(&groups, a, b));
        let divided =
            heaviest(items, &groups).into_iter().filter_map(|g| divide(items, phi.len(), &groups, g));
        let mut best: Option<Outcome> = None;
        for start in joined.chain(divided) {
            let next = cluster(items, phi, &start);
            if next.elbo > best.as_ref().map_or(outcome.elbo + REFINED_GAIN, |b| b.elbo) {
                best = Some(next);
            }
        }
        match best {
            Some(better) => outcome = better,
            None => break,
        }
    }
    outcome
}

/// The groups with most weight, as many as a refinement tries to divide.
fn heaviest(items: &[Item<'_>], groups: &[usize]) -> Vec<usize> {
    let weights = group_weights(items, groups);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    order.retain(|g| groups.iter().filter(|of| *of == g).count() >= LEAST_DIVIDED);
    order.truncate(REFINED_GROUPS);
    order
}

/// `groups` with group `g` in two, on either side of its mean along its first principal direction. `None` if it has less
/// than two items, or if they are all alike.
fn divide(items: &[Item<'_>], dim: usize, groups: &[usize], g: usize) -> Option<Vec<usize>> {
    let members: Vec<usize> = (0..items.len()).filter(|&i| groups[i] == g && items[i].weight > 0.0).collect();
    let upper = upper_half(items, dim, &members)?;
    let new = n_groups(groups);
    let mut divided = groups.to_vec();
    members.iter().zip(upper).filter(|(_, upper)| *upper).for_each(|(&i, _)| divided[i] = new);
    Some(numbered(&divided))
}

/// Which of the items `members` lie above their mean along their first principal direction. `None` if there are less than
/// two, or if they are all alike. Cost: `O(n_members · dim)`.
pub(crate) fn upper_half(items: &[Item<'_>], dim: usize, members: &[usize]) -> Option<Vec<bool>> {
    if members.len() < 2 {
        return None;
    }
    let total: f32 = members.iter().map(|&i| items[i].weight).sum();
    let mut mean = vec![0.0; dim];
    for &i in members {
        mean.iter_mut().zip(items[i].sum).for_each(|(m, s)| *m += s / total);
    }
    let away: Vec<Vec<f32>> = members
        .iter()
        .map(|&i| items[i].sum.iter().zip(&mean).map(|(s, m)| s / items[i].weight - m).collect())
        .collect();
    let longest = away.iter().max_by(|a, b| dot(a, a).total_cmp(&dot(b, b)))?;
    let mut direction = longest.clone();
    for _ in 0..POWER_ROUNDS {
        let mut next = vec![0.0; dim];
        for (x, &i) in away.iter().zip(members) {
            let along = items[i].weight * dot(x, &direction);
            next.iter_mut().zip(x).for_each(|(n, x)| *n += along * x);
        }
        let length = dot(&next, &next).sqrt();
        if length <= f32::MIN_POSITIVE {
            return None;
        }
        next.iter_mut().for_each(|n| *n /= length);
        direction = next;
    }
    Some(away.iter().map(|x| dot(x, &direction) > 0.0).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DIM, draw, items, same_partition};
    use super::*;

    #[test]
    fn a_refinement_finds_what_its_start_could_not() {
        let who: Vec<usize> = (0..60).map(|i| i / 5 % 3).collect();
        let phi = [4.0; DIM];
        let sums = draw(&who, 4.0, 2.0);
        let mut items = items(&sums, 2.0);
        // Groups vanish but do not part, so one group stays one; and two halves of one voice hide in three.
        for start in [vec![0; 60], (0..60).map(|i| [0, 0, 1 + i % 2][who[i]]).collect()] {
            let stuck = cluster(&items, &phi, &start);
            assert!(!same_partition(&stuck.groups, &who), "{:?}", stuck.groups);
            let got = refine(&items, &phi, stuck.clone());
            assert!(got.elbo > stuck.elbo && same_partition(&got.groups, &who), "{:?}", got.groups);
        }
        let right = cluster(&items, &phi, &who);
        assert_eq!(refine(&items, &phi, right.clone()).groups, right.groups);
        // What a person has joined is not divided.
        items[..10].iter_mut().for_each(|item| item.must_link = Some(1));
        let got = refine(&items, &phi, cluster(&items, &phi, &[0; 60]));
        assert!((1..10).all(|i| got.groups[i] == got.groups[0]), "{:?}", got.groups);
    }
}
