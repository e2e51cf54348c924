"""What each experiment asks, and what its figures do and do not show; kept beside its definition for the report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A title, the question, and how far the answer reaches; whole sentences."""

    title: str
    shows: str
    limits: str


TEXTS = {
    "transfer": Text(
        "Transfer: trained on one corpus, tested on another",
        "Whether a sign encoder carries its SEMs over to a corpus that it never saw: retrieval of the tested corpus'"
        " own sentences by predicted SEM (among its test sentences, embedded by the same teacher and brought into the"
        " space of the corpus that was trained on), and BLEU of the translations against them. Differences are to the"
        " first row, which was trained on the tested corpus itself.",
        "Translations come from a decoder that knows the text of the corpus that was trained on alone, and writes its"
        " language: where the languages differ, BLEU says nothing and retrieval under a multilingual teacher is the"
        " figure to read. Two corpora in one sign language are needed for more than chance to be expected; the demos"
        " share signs and avatar, so that they are a best case.",
    ),
    "low-resource": Text(
        "Low resource: teacher and decoder from little monolingual text",
        "What is left when nothing pretrained knows the language: a small teacher is trained from scratch by denoising"
        " (TSDAE) on a nested share of the monolingual sentences, sem2text on the same share, and the sign encoder on"
        " that teacher's SEMs. Differences are to the row of the share that was named first (100% by default), in the"
        " same system.",
        "The budgets of steps are the same, so small shares are read many times. The parallel clips stay all; targets"
        " of other shares lie in other spaces, so that ceilings and cosines of two rows compare decoders and teachers"
        " at once. Where `sem2text.train_text` is on, the corpus' own text stays in all rows.",
    ),
    "languages": Text(
        "Languages: one run over several against one for each",
        "Whether languages help or hurt each other: one teacher, one sem2text and one sign encoder trained on all"
        " languages of the dataset, then on each alone. Every system is tested on the clips of all languages and, in"
        " the rows `tested on …`, on those of one; the decoder is told which one to write. Differences are to training"
        " on all, in the same clips.",
        "The budget of steps is the same, so that two languages share what one has for itself. A language that was not"
        " trained on is asked for nevertheless: its rows show what is written of it, and its vocabulary was not learnt."
        " Targets stay centred on the train sentences of all languages.",
    ),
    "reconstruction": Text(
        "Reconstruction: sentences from their true SEMs",
        "How much of a corpus sentence the decoder writes from the teacher's embedding of it, when it was trained on"
        " monolingual text alone and when the corpus' train text was added. A pipeline that read every sign"
        " right would write this, before finetuning moves its decoder.",
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
    "glosses": Text(
        "Glosses: what they bring, beside sentence embeddings",
        "The yardstick that needs glosses: sign2glosstext learns the text and, by CTC, the glosses of the same clips."
        " It stands between sign2text, which has the text alone, and sign2semtext, to which the teacher's sentence"
        " embeddings are given in the glosses' place. Gloss WER is the word error rate of its recognised glosses on"
        " test. Differences are to the first system.",
        "Glosses tell the order of the signs, a SEM what the sentence says; the weights of the two losses were not"
        " tuned against each other. sign2semtext starts from two phases of training that sign2glosstext has no use"
        " for, so its steps are more than the column says.",
    ),
    "sem-map": Text(
        "SEM map: predicted against true SEMs, aligned or not",
        "Whether predicted SEMs lie where the true ones do: retrieval of a test clip's own sentence, the cosine to it,"
        " and the modality gap (distance between the centroids of unit vectors), as predicted and after a mean shift or"
        " a rotation (orthogonal Procrustes) that is fitted on train or dev. If a rotation raises retrieval, the"
        " encoder has learnt the shape of the space but not its orientation. Differences are to the SEMs as predicted.",
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
        " Differences are to the row of the share that was named first (100% by default), in the same system.",
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
    "decoders": Text(
        "Decoders: text from true SEMs by each decoder",
        "What a pretrained decoder brings over a new one: the corpus' sentences written from their true SEMs, after"
        " the same sem2text with each decoder that the dataset names. Differences are to the first decoder.",
        "Decoders differ in size and vocabulary, and each has the learning rate of its own entry; where an entry's"
        " `training` also sets other steps or batches, the budgets differ: the column of steps tells. Translations"
        " need not follow the ceiling; `--systems` adds them.",
    ),
}
