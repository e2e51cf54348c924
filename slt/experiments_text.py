"""What each experiment asks, and what its figures do and do not show; kept beside its definition for the report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A title, the question, and how far the answer reaches; whole sentences."""

    title: str
    shows: str
    limits: str


TEXTS = {
    "reconstruction": Text(
        "Reconstruction: sentences from their true SEMs",
        "How much of a corpus sentence the decoder writes from the teacher's embedding of it, when it was trained on"
        " monolingual text alone and when the corpus' train text was added. No system that reads SEMs alone can be"
        " expected to pass this.",
        "It says nothing about signing. Sentences of dev and test that also stand in train count in full, and the"
        " vocabulary is learnt on the text that is trained on, so that it differs between the two rows.",
    ),
    "learning-curve": Text(
        "Learning curve: BLEU over the number of parallel clips",
        "Where sentence embedding supervision pays: each system on growing, nested parts of the train clips; the"
        " monolingual text stays the same. Differences are to the first system at the same point.",
        "The budget of steps is the same at every point, so small parts are seen more often. Targets stay centred on"
        " all train sentences. Which clips a part holds is fixed by their ids: seeds vary training, not the draw.",
    ),
    "sem-map": Text(
        "SEM map: predicted against true SEMs, aligned or not",
        "Whether predicted SEMs lie where the true ones do: retrieval of a test clip's own sentence, the cosine to it,"
        " and the modality gap (distance between the centroids of unit vectors), as predicted and after a mean shift or"
        " a rotation (orthogonal Procrustes) that is fitted on train or dev. If a rotation raises retrieval, the"
        " encoder has learnt the shape of the space but not its orientation.",
        "A rotation fitted on fewer clips than the SEM has dimensions is partly arbitrary; one fitted on train, whose"
        " clips the encoder has seen, expects predictions better than those of test. t-SNE keeps neighbourhoods, not"
        " distances. The decoder was trained on what the encoder gives, so aligned SEMs need not translate better.",
    ),
    "features": Text(
        "Features: backbone, resolution and pooling",
        "What the frozen image backbone, the side of its frames (pixels) and the pooling of its feature map matter, all"
        " else equal. Differences are to the first variant, in the same system.",
        "Hyper-parameters were set with the dataset's own features; others may want others. `avg+max` has twice as many"
        " features as the rest, `avgmax` is their mean, `gem` the generalised mean with p = 3.",
    ),
    "loss": Text(
        "SEM loss: forms of the distance between predicted and true SEMs",
        "What the form of the SEM loss matters, in phase 1 and, for systems that have it, in phase 3. Retrieval and"
        " cosine tell whether SEMs land where sem2text, trained on true SEMs, can read them.",
        "Losses differ in scale: one weight and one learning rate serve all of them. `siamese` fixes angles between"
        " clips only, so that a low retrieval may be a rotation and no failure to learn; see the SEM map.",
    ),
    "monolingual": Text(
        "Monolingual text: how much of it sem2text needs",
        "The ceiling and the translations when sem2text is trained on nested shares of the monolingual sentences."
        " Differences are to the first share.",
        "The budget of steps is the same, so small shares are read many times. Where `sem2text.train_text` is on, the"
        " corpus' own text stays in all rows, and its weight grows as the share falls. The vocabulary is learnt anew"
        " for each share.",
    ),
    "teachers": Text(
        "Teachers: which sentence embedding model supervises",
        "The same rows under every teacher that the dataset names. Differences are to the first teacher.",
        "Two teachers differ in more than the languages they were trained on: size, training text, how full their space"
        " is. One set of rates serves all of them, and the dataset's were chosen with one of them.",
    ),
}
