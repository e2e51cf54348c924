"""Glosses as a model sees them: the vocabulary of the training clips, and their ids.

Source: facts of Camgöz et al. 2020 (neccam/slt): blank `<si>` is id 0, `<unk>` id 1, the rest comes from the training
split alone, by frequency, then by the alphabet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from slt.config.train import SystemConfig
from slt.errors import DataError
from slt.manifest import Clip

BLANK, UNKNOWN = "<si>", "<unk>"


def training_glosses(clips: Sequence[Clip], system: str, where: str, systems: Mapping[str, SystemConfig]) -> list[str]:
    """The gloss line of each training clip of a system that learns them.

    Raises DataError when any clip has none, naming the dataset (``where``), the system, the first such clip, and
    those of ``systems`` that need no gloss.
    """
    lines = [clip.gloss or "" for clip in clips]
    missing = [clip.id for clip, line in zip(clips, lines, strict=True) if not line.split()]
    if missing:
        free = [name for name, other in systems.items() if not other.gloss_weight]
        raise DataError(
            f"{where}: {len(missing)} of {len(clips)} train clips have no gloss, the first: `{missing[0]}`, but the"
            f" system `{system}` learns glosses (gloss_weight above 0); drop these clips in the corpus adapter, or take"
            f" a system that needs no gloss: {', '.join(free) or 'none is listed, add one with gloss_weight 0'}"
        )
    return lines


def gloss_vocabulary(lines: Iterable[str]) -> list[str]:
    """All glosses of the lines, most frequent first, ties by the alphabet, after the blank and the unknown gloss.

    Raises DataError when a gloss is spelt like one of those two.
    """
    counts = Counter(gloss for line in lines for gloss in line.split())
    for special in (BLANK, UNKNOWN):
        if special in counts:
            raise DataError(f"the annotation has a gloss `{special}`, which stands for something else here; rename it")
    return [BLANK, UNKNOWN, *sorted(counts, key=lambda gloss: (-counts[gloss], gloss))]


def encode_glosses(lines: Iterable[str], vocabulary: Sequence[str]) -> list[list[int]]:
    """Gloss ids of each line; a gloss that is not in the vocabulary becomes the unknown one."""
    ids = {gloss: i for i, gloss in enumerate(vocabulary)}
    unknown = ids[UNKNOWN]
    return [[ids.get(gloss, unknown) for gloss in line.split()] for line in lines]
