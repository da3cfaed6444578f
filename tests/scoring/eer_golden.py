"""Writes the golden cases of EER, minDCF and Cllr, computed with scikit-learn and SciPy.

    .venv/bin/python tests/scoring/eer_golden.py        (requirements: tests/scoring/requirements.txt)
"""

import json
import random
from pathlib import Path

import numpy as np
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.spatial import ConvexHull, QhullError
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve


def roc(target, nontarget):
    labels = [1] * len(target) + [0] * len(nontarget)
    fpr, tpr, _ = roc_curve(labels, list(target) + list(nontarget), drop_intermediate=False)
    return fpr, 1 - tpr


def cross(fpr, fnr):
    """Where the broken line through the points meets fpr == fnr, by bisection along the line."""
    along = np.arange(len(fpr), dtype=float)
    gap = interp1d(along, fnr - fpr)
    at = brentq(gap, 0, len(fpr) - 1, xtol=1e-14)
    return float(interp1d(along, fpr)(at))


def hull_eer(fpr, fnr):
    points = np.column_stack([np.append(fpr, 1.0), np.append(fnr, 1.0)])
    try:
        vertices = points[ConvexHull(points).vertices]
    except QhullError:
        return cross(fpr, fnr)
    lower = vertices[vertices.sum(axis=1) <= 1 + 1e-12]
    lower = lower[np.lexsort((-lower[:, 1], lower[:, 0]))]
    return cross(lower[:, 0], lower[:, 1])


def kaldi_eer(target, nontarget):
    target, nontarget = sorted(target), sorted(nontarget)
    for rank, score in enumerate(target[:-1]):
        peer = max(0, len(nontarget) - 1 - int(len(nontarget) * rank / len(target)))
        if nontarget[peer] < score:
            return rank / len(target)
    return (len(target) - 1) / len(target)


def min_dcf(fpr, fnr, p):
    return float(np.min(p * fnr + (1 - p) * fpr) / min(p, 1 - p))


def cllr(target, nontarget):
    cost_target = np.mean(np.logaddexp(0, -np.asarray(target)))
    cost_nontarget = np.mean(np.logaddexp(0, np.asarray(nontarget)))
    return float((cost_target + cost_nontarget) / (2 * np.log(2)))


def min_cllr(target, nontarget):
    scores = np.concatenate([target, nontarget])
    labels = np.concatenate([np.ones(len(target)), np.zeros(len(nontarget))])
    posterior = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, labels)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - np.log(len(target) / len(nontarget))
    return cllr(llr[: len(target)], llr[len(target) :])


def cases():
    rng = random.Random(2026)
    yield "separated", [2.0, 3.0], [0.0, 1.0]
    yield "swapped", [0.0, 1.0], [2.0, 3.0]
    yield "all_equal", [1.0, 1.0], [1.0, 1.0, 1.0]
    yield "one_each", [0.7], [0.2]
    yield "ties_at_the_crossing", [0.5, 0.6, 0.6, 0.9], [0.1, 0.6, 0.6, 0.2, 0.3]
    for idx in range(12):
        n_target, n_nontarget = rng.randrange(2, 120), rng.randrange(2, 200)
        shift, places = rng.uniform(0, 4), rng.choice([1, 2, 6])
        target = [round(rng.gauss(shift, 1), places) for _ in range(n_target)]
        yield f"random_{idx:02}", target, [round(rng.gauss(0, 1.5), places) for _ in range(n_nontarget)]


def main():
    rows = []
    for name, target, nontarget in cases():
        fpr, fnr = roc(target, nontarget)
        rows.append(
            {
                "case": name,
                "eer": cross(fpr, fnr),
                "eer_convex_hull": hull_eer(fpr, fnr),
                "eer_kaldi": kaldi_eer(target, nontarget),
                "min_dcf_01": min_dcf(fpr, fnr, 0.01),
                "min_dcf_05": min_dcf(fpr, fnr, 0.05),
                "cllr": cllr(target, nontarget),
                "min_cllr": min_cllr(target, nontarget),
                "target": target,
                "nontarget": nontarget,
            }
        )
    lines = ",\n".join(json.dumps(row) for row in rows)
    path = Path(__file__).parent / "eer_expected.json"
    path.write_text(f"[\n{lines}\n]\n")
    print(f"{len(rows)} cases written to {path}")


if __name__ == "__main__":
    main()
