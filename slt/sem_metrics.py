"""How well predicted SEMs match the true ones; what phase 1 is selected by."""

import numpy as np

PAIRS = 20_000  # enough for a Spearman standard error below 0.01


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) of length 1, in their own precision; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def cosines(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Cosine of every predicted (n, d) with every true SEM (m, d): (n, m)."""
    return unit(predicted) @ unit(true).T


def own_ranks(cosines: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The rank (n,) of each row's ``own`` column (n,) among all columns of ``cosines`` (n, m), from 1.

    Ties count against the prediction, so that a constant prediction of zeros finds nothing.
    """
    return np.asarray((cosines >= cosines[np.arange(len(own)), own][:, None] - 1e-12).sum(1))


def sem_figures(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Agreement of predicted with true SEMs, both (n, d), row by row.

    ``spearman`` of the pairwise cosines within each side over fixed pairs (the authors select by it, but draw
    pairs anew at each validation), ``retrieval1``: share of clips whose own SEM is the nearest of the distinct true
    ones, ``cosine``: mean cosine to the own true SEM.
    """
    from scipy.stats import spearmanr

    first, second = np.triu_indices(len(true), k=1)
    if len(first) > PAIRS:
        chosen = np.random.default_rng(0).choice(len(first), PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    distinct, own = np.unique(true, axis=0, return_inverse=True)  # clips of one sentence share its SEM
    across = cosines(predicted, distinct)
    left, right = cosines(predicted, predicted)[first, second], cosines(true, true)[first, second]
    correlation = spearmanr(left, right).statistic if len(first) > 1 else np.nan
    return {
        "spearman": float(np.nan_to_num(correlation)),  # constant vectors correlate with nothing
        "retrieval1": float(np.mean(own_ranks(across, own) == 1)),
        "cosine": float(across[np.arange(len(own)), own].mean()),
    }
