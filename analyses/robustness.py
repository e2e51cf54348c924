"""Does a model read what is in the video? Its own clips re-encoded at low quality with every second frame dropped.

``python analyses/robustness.py --dataset how2sign_sample --model data/finetune/h2s-sign2semtext-frames`` prints a
Markdown table: BLEU of the model, reloaded from its folder, on the clips as they are, on the re-encoded ones, and with
the re-encoded features permuted among clips; then five decoded samples. Noise as features can also give 100 BLEU on
clips that were trained on; it cannot give the second line.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from sacrebleu.metrics import BLEU

from slt import paths
from slt.conditions import derangement
from slt.decoding import Search
from slt.demo.corpus import encode
from slt.manifest import read_manifest
from slt.stage import progress
from slt.translate import ClipTranslator


def spoil(source: Path, target: Path, crf: int) -> None:
    """Every second frame of a video, at its own size, as H.264 of constant rate factor ``crf``."""
    with av.open(str(source)) as container:
        fps = round(float(container.streams.video[0].average_rate or 25))
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    encode(np.stack(frames[::2]), target, max(1, fps // 2), crf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--crf", type=int, default=35, help="of the re-encoding: 23 is usual, 51 worst (default 35)")
    parser.add_argument("--max-tokens", type=int, default=96)
    arguments = parser.parse_args()

    clips = read_manifest(paths.corpus_dir(arguments.dataset) / "manifest.parquet", "test")
    translator = ClipTranslator(arguments.model)
    search = Search(beam=4, length_penalty=1.0, max_tokens=arguments.max_tokens, batch=16)
    originals = [paths.resolve(clip.video) for clip in clips]
    with tempfile.TemporaryDirectory() as folder:
        spoilt = [Path(folder) / f"{i}.mp4" for i in range(len(clips))]
        for source, target in progress(list(zip(originals, spoilt, strict=True)), "re-encoding"):
            spoil(source, target, arguments.crf)
        clean = [result.sentences[0] for result in translator(originals, search)]
        rough = [result.sentences[0] for result in translator(spoilt, search)]
        sizes = [sum(path.stat().st_size for path in side) for side in (originals, spoilt)]
    # a clip's output depends on its own features alone
    permuted = [rough[i] for i in derangement([clip.language for clip in clips], 0)]
    references = [[clip.text for clip in clips]]
    lines = [f"| {len(clips)} clips of {arguments.dataset} | BLEU |", "|---|---:|"]
    rows = {
        "as they are": clean,
        f"re-encoded (crf {arguments.crf}, {sizes[1] / sizes[0]:.0%} of the bytes), every second frame dropped": rough,
        "the same, features permuted among clips": permuted,
    }
    lines += [f"| {name} | {BLEU().corpus_score(side, references).score:.1f} |" for name, side in rows.items()]
    lines += ["", "| reference | from the re-encoded clip |", "|---|---|"]
    shown = np.linspace(0, len(clips) - 1, 5).round().astype(int)
    lines += [f"| {clips[i].text} | {rough[i]} |" for i in shown]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
