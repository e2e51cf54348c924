"""Stage ceiling: the corpus' held-out text written from its true SEMs, by the decoder that the systems start from."""

from dataclasses import asdict

from slt import paths
from slt.conditions import ceiling_records
from slt.config.base import read_params, section
from slt.config.data import CorpusConfig
from slt.config.evaluate import EvaluateConfig
from slt.decoding import Search
from slt.evaluations import Info, Point, corpus_warning, write_evaluation
from slt.manifest import read_manifest
from slt.model_folder import load_model, load_training
from slt.scoring import score_folder
from slt.stage import device_name, run
from slt.store import code_sha256, discard, file_sha256, fingerprint, folder_sha256, publish, work_folder
from slt.targets import Targets
from slt.tokenizer import load_tokenizer


def main(dataset: str, teacher: str, decoder: str) -> None:
    """Reconstruct dev and test sentences from their true embeddings and score them."""
    params = read_params()
    config = section(EvaluateConfig, params, f"{dataset}.evaluate")
    language = section(CorpusConfig, params, f"{dataset}.corpus").language
    folder = paths.sem2text_dir(dataset, teacher, decoder)
    manifest, name = paths.corpus_dir(dataset) / "manifest.parquet", paths.ceiling_dir(dataset, teacher, decoder)
    hashes = [file_sha256(manifest), folder_sha256(paths.targets_dir(dataset, teacher)), folder_sha256(folder)]
    key = fingerprint("ceiling", code_sha256(__file__), name.name, asdict(config), language, hashes)
    work = work_folder("ceiling", key)

    clips = read_manifest(manifest)
    targets = Targets.open(paths.targets_dir(dataset, teacher))
    train = [clip for clip in clips if clip.split == "train"]
    heldout = [clip for clip in clips if clip.split != "train"]
    model, tokenizer = load_model(folder, device_name()), load_tokenizer(folder)
    search = Search(config.beam, config.length_penalty, config.max_tokens, config.batch)
    records = ceiling_records(model, tokenizer, search, heldout, targets.matrix([c.id for c in heldout]), train, work)
    training, curves = load_training(folder)
    # text alone is read here, so nothing could have seen gloss
    provenance = {
        "gloss_free": True,
        "decoder_source": model.decoder.source,
        **corpus_warning(paths.corpus_dir(dataset)),
    }
    info = Info(dataset, teacher, decoder, provenance=provenance, training=training)
    out = work / name.name
    discard(out)
    scores = score_folder(records, config, language=language)
    write_evaluation(out, records, info, scores, [Point(*point) for point in curves])
    publish(work, name, out.name)


if __name__ == "__main__":
    run("ceiling", ["dataset", "teacher", "decoder"], main)
