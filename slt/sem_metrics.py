"""How well predicted SEMs match the true ones; what phase 1 is selected by."""

import numpy as np

PAIRS = 20_000  # enough for a Spearman standard error below 0.01


def cosines(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Cosine of every predicted (n, d) with every true SEM (m, d): (n, m)."""
    return _unit(predicted) @ _unit(true).T


def sem_figures(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Agreement of predicted with true SEMs, both (n, d), row by row.

    ``spearman`` of the pairwise cosines within each side over fixed pairs (the authors select by it, but draw
    pairs anew at each validation), ``retrieval1``: share of clips whose own SEM is the nearest true one, ``cosine``:
    mean cosine to the own true SEM.
    """
    from scipy.stats import spearmanr

    first, second = np.triu_indices(len(true), k=1)
    if len(first) > PAIRS:
        chosen = np.random.default_rng(0).choice(len(first), PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    across = cosines(predicted, true)
    own = np.diag(across)
    left, right = cosines(predicted, predicted)[first, second], cosines(true, true)[first, second]
    correlation = spearmanr(left, right).statistic if len(first) > 1 else np.nan
    return {
        "spearman": float(np.nan_to_num(correlation)),  # constant vectors correlate with nothing
        "retrieval1": float(np.mean(across.max(1) <= own)),
        "cosine": float(own.mean()),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
