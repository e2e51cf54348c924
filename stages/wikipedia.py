"""Stage ``wikipedia``: monolingual sentences, none of them held out in the corpus, with the teacher's embeddings."""

from slt.config.base import read_params, section
from slt.config.data import TeacherConfig, WikipediaConfig
from slt.paths import corpus_dir, wikipedia_dir
from slt.stage import run
from slt.teacher import Teacher
from slt.wikipedia import embed_sentences, extract_sentences


def main(dataset: str, teacher: str) -> None:
    """Collect clean sentences from the dataset's Wikipedia source and embed them with a teacher."""
    params = read_params()
    where = f"{dataset}.teachers.{teacher}"
    config = section(TeacherConfig, params, where)
    wikipedia = section(WikipediaConfig, params, f"{dataset}.wikipedia")
    sentences = extract_sentences(wikipedia, corpus_dir(dataset) / "manifest.parquet", dataset)
    embed_sentences(sentences, Teacher.load(config, where), wikipedia_dir(dataset, teacher))


if __name__ == "__main__":
    run("wikipedia", ["dataset", "teacher"], main)
