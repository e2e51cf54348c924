"""Samples, words, renders and writes the whole demo corpus, a pure function of its parameters."""

import logging
import random
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from slt.demo.avatar import render
from slt.demo.config import DemoConfig
from slt.demo.dump import write_dump
from slt.demo.english import English
from slt.demo.german import German
from slt.demo.grammar import Meaning
from slt.demo.motion import SIGNERS, UNSEEN, Motion, Signer, plan
from slt.demo.sampling import MeaningSampler
from slt.demo.wording import Wording
from slt.errors import DataError
from slt.manifest import SPLITS
from slt.stage import progress
from slt.store import replacing
from slt.workers import process_pool, worker_count

log = logging.getLogger(__name__)

WORDINGS: dict[str, type[Wording]] = {"en": English, "de": German}
STREAMS = ("motion", "render")  # independent random numbers of one clip
TRIES = 200  # draws of one new item before the parameters are said to ask for too much


@dataclass(frozen=True)
class Report:
    """One clip before it is drawn."""

    id: str
    split: str
    index: int
    meaning: Meaning
    signer: Signer
    text: str
    references: tuple[str, ...]

    def motion(self, config: DemoConfig) -> Motion:
        """The poses; their number is the clip's number of frames."""
        return plan(self.meaning.tokens(), self.signer, config.fps, self._rng(config, "motion"))

    def frames(self, config: DemoConfig) -> np.ndarray:
        """The drawn frames (T, size, size, 3), RGB."""
        return render(self.motion(config), config.pixels, self._rng(config, "render"))

    def _rng(self, config: DemoConfig, purpose: str) -> np.random.Generator:
        return np.random.default_rng([config.seed, SPLITS.index(self.split), self.index, STREAMS.index(purpose)])


@dataclass(frozen=True)
class Demo:
    """All that the corpus says: its reports and its monolingual sentences."""

    reports: list[Report]
    monolingual: list[tuple[Meaning, str]]

    @property
    def sentences(self) -> list[str]:
        """The monolingual sentences, all distinct."""
        return [text for _, text in self.monolingual]


def sample(config: DemoConfig) -> Demo:
    """Meanings and wordings of all splits and of the dump.

    No meaning and no sentence of dev or test stands in the other, in train or in the dump. Held-out clips are drawn
    first and train clips one after another: see DemoConfig. Raises DataError when the parameters ask
    for more distinct reports than the grammar gives.
    """
    reports: list[Report] = []
    taken: set[str] = set()  # glosses of held-out meanings
    texts: set[str] = set()  # their sentences, as match_key gives them
    for split in ("test", "dev", "train"):
        for index in range(config.clips(split)):
            rng = random.Random(f"{config.seed} {split} {index}")
            report = _report(config, split, index, rng, taken, texts)
            reports.append(report)
            if split != "train":
                taken.add(report.meaning.gloss)
                texts.update(map(match_key, (report.text, *report.references)))
    reports.sort(key=lambda report: (SPLITS.index(report.split), report.index))
    return Demo(reports, _monolingual(config, taken, texts))


def _report(config: DemoConfig, split: str, index: int, rng: random.Random, taken: set[str], texts: set[str]) -> Report:
    sampler, wording = MeaningSampler(rng, config.zipf), WORDINGS[config.language](rng, config.wording)
    for _ in range(TRIES):
        meaning = sampler.meaning()
        if meaning.gloss in taken:
            continue
        text = wording.sentence(meaning)
        references = _references(wording, meaning, text, config.references if split != "train" else 0)
        if references is None or texts.intersection(map(match_key, (text, *references))):
            continue
        # from random numbers of its own: the signer tells nothing about what is signed
        casting = random.Random(f"{config.seed} {split} {index} signer")
        signer = UNSEEN if split == "test" and casting.random() < config.unseen_share else casting.choice(SIGNERS[:-1])
        return Report(f"{split}-{index:04d}", split, index, meaning, signer, text, references)
    raise DataError(f"demo: no new {split} report after {TRIES} draws; ask for fewer clips or a smaller zipf")


def _references(wording: Wording, meaning: Meaning, text: str, count: int) -> tuple[str, ...] | None:
    found: list[str] = []
    for _ in range(TRIES if count else 0):
        other = wording.sentence(meaning)
        if other != text and other not in found:
            found.append(other)
        if len(found) == count:
            break
    return tuple(found) if len(found) == count else None


def _monolingual(config: DemoConfig, taken: set[str], texts: set[str]) -> list[tuple[Meaning, str]]:
    rng = random.Random(f"{config.seed} monolingual")
    sampler, wording = MeaningSampler(rng, config.zipf_monolingual), WORDINGS[config.language](rng, config.wording)
    kept: dict[str, tuple[Meaning, str]] = {}
    for _ in range(20 * config.sentences + TRIES):
        meaning = sampler.meaning()
        text = wording.sentence(meaning)
        key = match_key(text)
        if meaning.gloss not in taken and key not in texts:
            kept.setdefault(key, (meaning, text))
        if len(kept) == config.sentences:
            return list(kept.values())
    raise DataError(f"demo: only {len(kept)} distinct sentences found; lower corpus.options.sentences")


def word_list(text: str) -> list[str]:
    """The words of a sentence, lower-case, without punctuation."""
    return re.findall(r"[\w-]+", text.lower())


def match_key(text: str) -> str:
    """Equal for sentences that differ in case and punctuation only, as in ``slt.wikipedia``."""
    return " ".join(word_list(text))


def write(config: DemoConfig, demo: Demo, folder: Path, workers: int | None = None) -> None:
    """Write ``videos/<id>.mp4``, ``annotation.tsv`` and ``wikipedia.xml.bz2`` below ``folder``.

    The bytes do not depend on the number of ``workers`` (default: SLT_WORKERS, or one a processor).
    """
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    with replacing(folder / "annotation.tsv") as temporary:
        lines = ["id\tsplit\tsigner\tgloss\ttext\treferences"]
        lines += [
            "\t".join([r.id, r.split, r.signer.name, r.meaning.gloss, r.text, " | ".join(r.references)])
            for r in demo.reports
        ]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_dump(folder / "wikipedia.xml.bz2", demo.sentences, config.seed, config.language)
    workers = workers or worker_count()
    jobs = [(config, report, folder / "videos" / f"{report.id}.mp4") for report in demo.reports]
    if workers == 1:
        for job in jobs:
            _film(job)
        return
    with process_pool(workers) as pool:
        for _ in progress(pool.map(_film, jobs, chunksize=8), "filming", len(jobs), "clip"):
            pass


def _film(job: tuple[DemoConfig, Report, Path]) -> None:
    config, report, path = job
    cv2.setNumThreads(1)  # one clip a process: threads within would only compete
    with replacing(path) as temporary:
        encode(report.frames(config), temporary, config.fps, config.crf)


def encode(frames: np.ndarray, path: Path, fps: int, crf: int) -> None:
    """Write frames (T, H, W, 3), RGB uint8, as H.264 in MP4, the same bytes each time.

    One thread, since x264's bytes depend on how many. No macroblock tree: with it (x264 of PyAV 18.1's wheel, SIMD on)
    15 encodes of equal frames gave 5 different files, without it 300 encodes of five sizes gave one file a size.
    """
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for array in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))
