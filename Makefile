# make demo     train a slim tagger on the shipped jets, emit, verify and synthesise it, end in one table
# make demo-waves  train a wave network that cannot blow up on the shipped waves, stream it through RTL, roll it out
# make demo-board  a shipped compressed tagger as a bitstream for a ULX3S, its routed design simulated (under ten minutes)
# make test     the test suite without what is marked slow
# make fuzz     C, ONNX and RTL against the golden model on random graphs: make fuzz MINUTES=10 SEED=random;
#               then 500 malformed files and command lines, each of which must end in one clear line: CASES=500
# make mutation single faults in emitted sources: how many verification catches, in one table (half an hour)
# make public   every Keras and ONNX file below FOLDER brought in, emitted and verified, in one table: FOLDER=...
# make install  .venv with the pinned packages; its bin/edgephys is the CLI
# make scaling  every model of the zoo emitted, verified and synthesised, in one table; a stopped run continues (hours)
# make sweep    a small tagger at several depths of pipelining, placed and routed (about six minutes)
# make compression  three seeds of the smallest Deep Sets, measured, beside the uniform models
# make alone    every compression stage alone, over three seeds, the first one synthesised (hours)
# make front    accuracy against LUTs and latency: a sweep of the price of an adder over three seeds (two hours)
# make rival    HGQ2's Deep Sets and linear interaction network, 4 betas and 3 seeds, synthesised; resumes (many hours)
# make waves    wave networks of every format over three seeds, rolled out, in one table; their dispersion and times (hours)
# make waves-operator  the wave operator over three seeds, and compressed before training; rolled out in RTL (hours)
# make waves-firmware  wave networks in HLS and RTL, the operator on 32, 64 and 128 points a side (about an hour)
# make agree    every model of the zoo on C, ONNX and QONNX: how many integers differ (about half an hour)
# make coverage which bits, ties and overflows of four networks held-out and generated vectors reach
# make netlists  simulation and proofs of the compressed taggers' netlists, and of a routed one (over an hour)
# make intervals  LUTs and latency of taggers against the initiation interval (about an hour)
# make boards   bitstreams of a tagger for open boards, each simulated as routed, in one table (about a quarter of an hour)
# make bench    latency of four networks on every processor target (ten minutes of a quiet machine)
# make speed    how fast the tool is: golden model, emission, a training step of the compression stages
# make compare  the paper's Deep Sets at N = 8, 16, 32 emitted, verified, synthesised and compared (over an hour)
# make zoo      train the zoo again (needs data/jets_train.h5: see models/README.md; hours)
# make check    ruff and mypy
# make docs     the documentation as a site in build/site, with all links checked

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CLI    := $(BIN)/edgephys
OUT    := hls_projects

.PHONY: install demo demo-waves demo-board boards waves waves-operator waves-firmware test test-all fuzz mutation public compare-emitted check compare street scaling sweep compression alone front rival agree coverage netlists intervals bench speed zoo zoo-wide clean

install: $(VENV)/.installed

$(VENV)/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "edgephys needs Python 3.11 or newer, found $$($(PYTHON) --version); set PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs,jets,waves,cluster,qonnx,bench,board]'
	@touch $@

DEMO := $(OUT)/demo
demo: install
	$(CLI) doctor
	$(CLI) train models/jet_deepsets.py --data models/samples/jets.h5 --out runs/demo \
	    --set phi=16,16,16 --set rho=16 --set bits=5 --set epochs=25 --set batch=256
	$(CLI) emit runs/demo --to hls --out $(DEMO)_hls
	$(CLI) emit runs/demo --to rtl --out $(DEMO)_rtl
	$(CLI) verify $(DEMO)_hls
	$(CLI) verify $(DEMO)_rtl
	$(CLI) report $(DEMO)_hls
	$(CLI) report $(DEMO)_rtl
	$(CLI) compare $(DEMO)_hls $(DEMO)_rtl --out $(OUT)/results/demo

WAVES := $(OUT)/demo_waves
demo-waves: install
	$(CLI) train models/wave_operator.py --data models/samples/waves.h5 --out runs/demo_waves_float \
	    --set bits=float --set width=8 --set every=2 --set epochs=30 --set learning_rate=5e-3
	$(CLI) train models/wave_operator.py --data models/samples/waves.h5 --start runs/demo_waves_float \
	    --out runs/demo_waves --set width=8 --set every=2 --set epochs=4
	$(CLI) emit runs/demo_waves --to rtl --out $(WAVES)_rtl
	$(CLI) verify $(WAVES)_rtl
	$(CLI) report $(WAVES)_rtl
	$(CLI) waves runs/demo_waves models/waves/cp12_8bit --data models/samples/waves.h5 --out $(OUT)/results/demo_waves

demo-board: install
	$(CLI) board models/compressed/jet_deepsets_n8_frugal --board ulx3s_85f --ii 32 --out $(OUT)/demo_board
	$(CLI) bitstreams $(OUT)/demo_board --out $(OUT)/results/demo_board

SEEDS_OF_WAVES := 1 2 3
SHIPPED_WAVES := models/waves/full_8bit models/waves/cp12_8bit
FORMATS := full spatial cp cp12 depthwise one_way
TRAIN_WAVES = $(CLI) train models/wave_cnn.py --data data/waves_train.h5 --set seed=$$s \
    --set format=$${f%12} $$(test $$f = cp12 && echo --set rank=12)
TRAIN_OPERATOR = $(CLI) train models/wave_operator.py --data data/waves_train128.h5 --set seed=$$s
waves: install
	mkdir -p data
	test -e data/waves_train.h5 || $(CLI) data waves --runs 256 --grid 32 --seed 1 --out data/waves_train.h5
	test -e data/waves_other.h5 || $(CLI) data waves --runs 48 --grid 32 --seed 77 --out data/waves_other.h5
	set -e; for s in $(SEEDS_OF_WAVES); do for f in $(FORMATS); do \
	    first=runs/waves_first/$${f}_seed$$s; eight=runs/waves/$${f}_8bit_seed$$s; six=runs/waves/$${f}_6bit_seed$$s; \
	    on="--set epochs=5 --set unroll=4 --set learning_rate=5e-4"; \
	    test -e $$first || $(TRAIN_WAVES) --out $$first; \
	    test -e $$eight || $(TRAIN_WAVES) $$on --start $$first --out $$eight; \
	    test -e $$six || $(TRAIN_WAVES) $$on --set bits=6 --start $$eight --out $$six; \
	done; \
	done
	$(CLI) waves runs/waves/* --data data/waves_other.h5 --out $(OUT)/results/waves
	$(CLI) dispersion $(SHIPPED_WAVES) --out $(OUT)/results/waves_dispersion

# The wave operator over three seeds, and with its filters compressed before training, on runs that no choice has seen.
OPERATOR := runs/waves_operator
waves-operator: install
	mkdir -p data
	test -e data/waves_train128.h5 || $(CLI) data waves --runs 128 --grid 32 --seed 1 --out data/waves_train128.h5
	test -e data/waves_fresh.h5 || $(CLI) data waves --runs 48 --grid 32 --seed 88031 --out data/waves_fresh.h5
	set -e; for of in "operator 1" "operator 2" "operator 3" "cp12 1 --set format=cp --set rank=12" \
	    "oneway16 1 --set format=one_way --set width=16"; do set -- $$of; name=$$1 s=$$2; shift 2; \
	    first=$(OPERATOR)/$${name}_seed$${s}_float; eight=$(OPERATOR)/$${name}_seed$${s}_8bit; \
	    test -e $$first || $(TRAIN_OPERATOR) "$$@" --set bits=float --out $$first; \
	    test -e $$eight || $(TRAIN_OPERATOR) "$$@" --set epochs=10 --set learning_rate=5e-4 --start $$first --out $$eight; \
	done
	$(CLI) waves $(OPERATOR)/*_8bit $(SHIPPED_WAVES) --data data/waves_fresh.h5 --out $(OUT)/results/waves_operator
	$(CLI) emit models/waves/operator_8bit --to rtl --rollout 2 --vectors 4 --out $(OUT)/wave_operator_rtl
	$(CLI) emit models/waves/cp12_8bit --to rtl --vectors 4
	set -e; for p in wave_operator_rtl wave_cnn_n32_cp12_8bit_rtl; do $(CLI) verify $(OUT)/$$p; done
	$(CLI) rollout $(OUT)/wave_operator_rtl --data data/waves_fresh.h5 --starts 2,8,13 --out $(OUT)/results/waves_rollout
	$(CLI) pace models/waves/operator_8bit $(SHIPPED_WAVES) --data data/waves_fresh.h5 --rounds 9 --project $(OUT)/wave_operator_rtl \
	    --project $(OUT)/wave_cnn_n32_cp12_8bit_rtl --out $(OUT)/results/waves_speed

# The weights of the operator on larger fields: line buffers grow, logic does not.
FIRMWARE_OF_WAVES := models/waves/operator_8bit runs/waves_grid/operator_n64 runs/waves_grid/operator_n128 models/waves/cp12_8bit \
    models/waves/full_8bit_input14
NAMED = $(OUT)/waves_$(notdir $(1))_$(2)
waves-firmware: install
	mkdir -p data
	set -e; for grid in 64 128; do \
	    test -e data/waves_$$grid.h5 || $(CLI) data waves --runs 8 --grid $$grid --seed 88031 --out data/waves_$$grid.h5; \
	    test -e runs/waves_grid/operator_n$$grid || $(CLI) train models/wave_operator.py --data data/waves_$$grid.h5 \
	        --start models/waves/operator_8bit --set grid=$$grid --set epochs=0 --out runs/waves_grid/operator_n$$grid; \
	done
	set -e; for model in $(FIRMWARE_OF_WAVES); do for to in hls rtl; do \
	    project=$(OUT)/waves_$$(basename $$model)_$$to; \
	    test -f $$project/results/report.json && continue; \
	    $(CLI) emit $$model --to $$to --out $$project --force; \
	    $(CLI) verify $$project; \
	    $(CLI) report $$project; \
	done; done
	$(CLI) compare $(foreach m,$(FIRMWARE_OF_WAVES),$(call NAMED,$(m),hls) $(call NAMED,$(m),rtl)) --out $(OUT)/results/waves_firmware

test: install
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow'

test-all: install
	$(BIN)/python -m pytest -q

MINUTES := 10
SEED    := random
CASES   := 500
# Emit every model to every target with BASE and with the working tree, and compare sources, Graphs and integers (hours).
BASE ?= main
compare-emitted: install
	git worktree add --force --detach build/base $(BASE)
	$(BIN)/python tests/compare_emitted.py emit build/base build/emitted/base
	$(BIN)/python tests/compare_emitted.py emit . build/emitted/now
	git worktree remove --force build/base
	$(BIN)/python tests/compare_emitted.py compare build/emitted/base build/emitted/now

fuzz: install
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES) --seed $(SEED)
	$(BIN)/python tests/fuzz_inputs.py --cases $(CASES) --seed $(SEED)

mutation: install
	$(BIN)/python tests/mutate.py --out $(OUT)/results/mutation

public: install
	@test -n "$(FOLDER)" || { echo "state the folder of model files: make public FOLDER=..."; exit 1; }
	$(BIN)/python hls_projects/public.py $(FOLDER) --jobs 2 --out $(OUT)/results/public

check: install
	$(BIN)/ruff check edgephys tests models docs
	$(BIN)/mypy

SIZES := 8 16 32
compare: install
	set -e; for n in $(SIZES); do for to in hls rtl; do \
	    $(CLI) emit models/zoo/jet_deepsets_n$${n}_8bit --to $$to; \
	    $(CLI) verify $(OUT)/jet_deepsets_n$${n}_8bit_$$to; \
	    $(CLI) report $(OUT)/jet_deepsets_n$${n}_8bit_$$to; \
	    mkdir -p $(OUT)/reports; \
	    cp $(OUT)/jet_deepsets_n$${n}_8bit_$$to/results/report.json $(OUT)/reports/jet_deepsets_n$${n}_8bit_$$to.json; \
	done; done
	$(CLI) compare --out $(OUT)/results/street \
	    $(foreach n,$(SIZES),$(OUT)/jet_deepsets_n$(n)_8bit_hls $(OUT)/jet_deepsets_n$(n)_8bit_rtl)

street: compare

scaling: install
	$(CLI) scaling models/zoo/* --out $(OUT)/results/scaling

TRAIN_SMALL := $(CLI) train models/jet_deepsets.py --data models/samples/jets.h5 --set constituents=4 \
    --set phi=4,4 --set rho=4 --set bits=4 --set epochs=12 --set batch=512
sweep: install
	$(TRAIN_SMALL) --out runs/sweep
	$(CLI) sweep runs/sweep --clock-ns 20 --device 25k --vectors 2000 --out $(OUT)/sweep_swept \
	    --results $(OUT)/results/pipelining

# Deep Sets of 8 constituents made a tenth in LUTs, measured, over seeds (about half an hour; data as for the zoo);
# `make compression N="8 16 32"` takes the larger ones, too (hours).  Every stage alone is made by `make alone`, the front
# by `make front`, and both stand in the same table.
N       := 8
UNIFORM := $(foreach bits,8 6 4,models/zoo/jet_deepsets_n8_$(bits)bit) $(foreach n,16 32,models/zoo/jet_deepsets_n$(n)_8bit)
JETS    := --data data/jets_train.h5 --test-data models/samples/jets.h5
RUNS    := runs/compression
compression: install
	set -e; for n in $(N); do for seed in 1 2 3; do \
	    $(CLI) compress models/zoo/jet_deepsets_n$${n}_8bit compress/frugal.toml $(JETS) \
	        --seed $$seed --out $(RUNS)/frugal_n$${n}_s$$seed --measure-last; \
	done; done
	$(CLI) scaling $(UNIFORM) --out $(OUT)/results/uniform
	$(CLI) gains $(RUNS) --beside $(OUT)/results/uniform.json --beside $(OUT)/results/rival.json \
	    --out $(OUT)/results/compression

alone: install
	set -e; for seed in 1 2 3; do for pipeline in compress/alone/*.toml; do \
	    $(CLI) compress models/zoo/jet_deepsets_n8_8bit $$pipeline $(JETS) --seed $$seed \
	        --out $(RUNS)/$$(basename $$pipeline .toml)_s$$seed $$([ $$seed = 1 ] && echo --measure-last); \
	done; done

front: install
	$(CLI) pareto models/zoo/jet_deepsets_n8_8bit compress/frugal.toml $(JETS) --seeds 1,2,3 --measure \
	    --beside $(OUT)/results/uniform.json --out runs/front_n8

# The rival on the jets of the zoo's models, in an environment of its own: every beta and seed is a training of RIVAL_EPOCHS,
# and the best epochs of their fronts within each of LIMITS (chosen from the fronts where empty) are synthesised.
# `make rival N="8 16 32"` takes the larger ones, too.
BETAS        := 3e-7 1e-6 3e-6 1e-5
RIVAL_SEEDS  := 1 2 3
RIVAL_EPOCHS := 216
LIMITS       :=
RIVALS       := jet_deepsets jet_linear_interaction
rival: install
	$(BIN)/python compress/rival/rival.py --model $(foreach n,$(N),$(foreach of,$(RIVALS),models/zoo/$(of)_n$(n)_8bit)) \
	    $(JETS) --beta $(BETAS) --seed $(RIVAL_SEEDS) --epochs $(RIVAL_EPOCHS) $(if $(LIMITS),--limit $(LIMITS)) \
	    --out $(OUT)/results/rival

agree: install
	$(CLI) agree models/zoo/*bit models/compressed/* models/waves/cp12_8bit models/waves/full_8bit_input14 \
	    --out $(OUT)/results/agreement

TIMED := jet_deepsets_n8_8bit jet_interaction_n8_8bit jet_mlp_n8_8bit
coverage: install
	$(CLI) coverage models/zoo/jet_deepsets_n8_8bit models/zoo/jet_deepsets_n32_8bit models/zoo/jet_interaction_n8_8bit \
	    models/waves/cp12_8bit --out $(OUT)/results/coverage

# The compressed taggers after synthesis, and the tagger of `make sweep` after place and route, too.
NETLISTS := $(foreach n,8 16 32,jet_deepsets_n$(n)_frugal)
netlists: install
	set -e; for model in $(NETLISTS); do \
	    $(CLI) emit models/compressed/$$model --to rtl --out $(OUT)/$${model}_rtl; \
	    $(CLI) verify $(OUT)/$${model}_rtl --netlist; \
	done
	$(TRAIN_SMALL) --out runs/routed
	$(CLI) emit runs/routed --to rtl --out $(OUT)/routed_rtl
	$(CLI) report $(OUT)/routed_rtl --place
	$(CLI) verify $(OUT)/routed_rtl --netlist
	$(CLI) netlists $(foreach m,$(NETLISTS),$(OUT)/$(m)_rtl) $(OUT)/routed_rtl --out $(OUT)/results/netlists

# An input every II clocks: rows, or inputs and outputs of dense layers, come in turn through fewer copies.
INTERVALS := jet_deepsets_n8_8bit:2 jet_deepsets_n8_8bit:4 jet_deepsets_n8_8bit:8 jet_deepsets_n16_8bit:16 \
    jet_deepsets_n32_8bit:32 jet_deepsets_n64_8bit:64 jet_interaction_n8_8bit:56 jet_interaction_n16_8bit:240
IN_TURN = $(OUT)/$(subst :,_ii,$(1))_rtl
intervals: install
	set -e; for of in $(INTERVALS); do model=$${of%:*} ii=$${of#*:}; out=$(OUT)/$${model}_ii$${ii}_rtl; \
	    test -f $$out/results/report.json && continue; \
	    $(CLI) emit models/zoo/$$model --to rtl --ii $$ii --vectors 2000 --out $$out --force; \
	    $(CLI) verify $$out; \
	    $(CLI) report $$out; \
	done
	$(CLI) intervals $(foreach of,$(INTERVALS),$(call IN_TURN,$(of))) --beside $(OUT)/results/scaling.json \
	    --out $(OUT)/results/ii

# Bitstreams: MODEL:BOARD:II, the interval that is tried first.
BITSTREAMS := jet_deepsets_n8_frugal:ulx3s_85f:32 jet_deepsets_n8_frugal:orangecrab_25f:64
BUILT = $(OUT)/$(subst :,_,$(1))
boards: install
	set -e; for of in $(BITSTREAMS); do set -- $$(echo $$of | tr : ' '); out=$(OUT)/$$1_$$2_$$3; \
	    test -f $$out/results/board.json || $(CLI) board models/compressed/$$1 --board $$2 --ii $$3 --out $$out; \
	done
	$(CLI) bitstreams $(foreach of,$(BITSTREAMS),$(call BUILT,$(of))) --out $(OUT)/results/boards

bench: install
	set -e; for to in "c --batch" onnx; do \
	    for model in $(TIMED); do $(CLI) emit models/zoo/$$model --to $$to; done; \
	    $(CLI) emit models/waves/cp12_8bit --to $$to --out $(OUT)/waves_cp12_8bit_$$to; \
	done
	for to in hls rtl; do $(CLI) emit models/zoo/jet_deepsets_n8_8bit --to $$to; done
	$(CLI) verify $(OUT)/jet_deepsets_n8_8bit_rtl
	$(CLI) bench $(OUT)/jet_deepsets_n8_8bit_hls $(OUT)/jet_deepsets_n8_8bit_rtl \
	    $(foreach m,$(TIMED) waves_cp12_8bit,$(OUT)/$(m)_c $(OUT)/$(m)_onnx) --out $(OUT)/results/bench

speed: install
	$(BIN)/python tests/bench_tool.py
	$(BIN)/python tests/bench_compress.py

# The zoo: each network float first, with batch normalisation, then 8, 6 and 4 bits from it, into runs/zoo/seedK. What is
# trained already is kept, so that a stopped run continues; seed 1 is copied to models/zoo at the end.
SEEDS    := 1
FAMILIES := jet_mlp jet_deepsets jet_interaction jet_linear_interaction
ZOO      := runs/zoo
ZOO_DATA := --data data/jets_train.h5 --test-data models/samples/jets.h5 --set validation=0.045
FLOAT    := --set bits=float --set epochs=60 --set stop_patience=60
FINE     := --set epochs=16 --set stop_patience=16 --set learning_rate=3e-4
# $(call trained,FOLDER,SCRIPT,SETTINGS): train a model that is not there yet
trained   = [ -f $(1)/card.json ] || $(CLI) train models/$(2).py $(3) --out $(1)
zoo: install
	set -e; for seed in $(SEEDS); do for script in $(FAMILIES); do for n in $(SIZES); do \
	    name=$(ZOO)/seed$$seed/$${script}_n$$n; of="$(ZOO_DATA) --set constituents=$$n --set seed=$$seed"; \
	    $(call trained,$${name}_float,$$script,$$of $(FLOAT)); \
	    for bits in 8 6 4; do \
	        $(call trained,$${name}_$${bits}bit,$$script,$$of $(FINE) --set bits=$$bits --start $${name}_float); \
	    done; \
	done; done; done
	cp -r $(ZOO)/seed1/. models/zoo
	$(CLI) cards models/zoo/* $$(ls -d $(ZOO)/seed[!1]/* 2>/dev/null) --out $(OUT)/results/accuracy

# High-level features as the zoo; all 16 columns and N = 64 at 8 bits from float models that are not kept. The sample holds
# three columns of 32 constituents, so their test jets are those it was trimmed from:
# edgephys data jets --jets-per-class 9000 --seed 2 --out data/jets_test.h5
WIDE_DATA := --data data/jets_train.h5 --test-data data/jets_test.h5 --set validation=0.045
zoo-wide: install
	set -e; wide() { script=$$1; name=$$2; shift 2; \
	    $(call trained,$(ZOO)/wide/$${name}_float,$$script,"$$@" $(FLOAT)); \
	    $(call trained,$(ZOO)/wide/$${name}_8bit,$$script,"$$@" $(FINE) --set bits=8 --start $(ZOO)/wide/$${name}_float); \
	    cp -r $(ZOO)/wide/$${name}_8bit models/zoo; }; \
	wide jet_highlevel jet_highlevel $(ZOO_DATA); cp -r $(ZOO)/wide/jet_highlevel_float models/zoo; \
	for script in $(FAMILIES); do \
	    wide $$script $${script}_n8_f16 $(WIDE_DATA) --set constituents=8 --set features=all; \
	done; \
	wide jet_deepsets jet_deepsets_n64 $(WIDE_DATA) --set constituents=64

.PHONY: docs
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf runs build *.egg-info
