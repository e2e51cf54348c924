"""The losses of the three phases, each a sum over its terms; the loop divides by the terms of a usual step."""

import torch
from torch import Tensor
from torch.nn import functional


def sem_loss(kind: str, predicted_BS: Tensor, target_BS: Tensor) -> Tensor:
    """Distance of predicted to target SEMs, summed over the clips of a micro-batch.

    ``mse``: mean squared difference per dimension. ``cosine``: 1 - cos. ``siamese``: mean over the other clips
    of (cos(E_i, E_j) - cos(S_i, S_j))², the authors' form with all pairs of the batch instead of random ones;
    a clip alone in its micro-batch has no pair and adds zero.
    """
    predicted_BS, target_BS = predicted_BS.float(), target_BS.float()
    if kind == "mse":
        return (predicted_BS - target_BS).square().mean(1).sum()
    if kind == "cosine":
        return (1 - functional.cosine_similarity(predicted_BS, target_BS)).sum()
    if kind == "siamese":
        predicted_BB, target_BB = _cosines(predicted_BS), _cosines(target_BS)
        return (predicted_BB - target_BB).square().fill_diagonal_(0).sum() / max(1, len(predicted_BS) - 1)
    raise ValueError(f"unknown SEM loss {kind!r}")


def _cosines(x_BS: Tensor) -> Tensor:
    unit = functional.normalize(x_BS)
    return unit @ unit.T


def text_loss(logits_BLV: Tensor, labels_BL: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy summed over the target tokens; labels of -100 are padding."""
    return functional.cross_entropy(
        logits_BLV.float().transpose(1, 2), labels_BL, reduction="sum", label_smoothing=label_smoothing
    )


def gloss_loss(logits_BTV: Tensor, frames_B: Tensor, glosses_BG: Tensor, lengths_B: Tensor) -> Tensor:
    """CTC loss (blank 0) summed over the clips of a micro-batch, in float32 whatever the precision of the logits.

    ``frames_B`` and ``lengths_B`` count the real frames and glosses of each clip. A clip with too few frames for its
    glosses adds zero.
    """
    return functional.ctc_loss(
        logits_BTV.float().log_softmax(-1).transpose(0, 1),
        glosses_BG,
        frames_B,
        lengths_B,
        blank=0,
        reduction="sum",
        zero_infinity=True,
    )


def gradient_cosine(losses: list[Tensor], parameters: list[torch.nn.Parameter]) -> float:
    """Cosine between the gradients of two losses on shared parameters; below zero the two pull apart."""
    flat = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        flat.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for g, p in zip(gradients, parameters, strict=True)
                ]
            )
        )
    return float(functional.cosine_similarity(flat[0], flat[1], dim=0))
