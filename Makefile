# claimbench: the one Makefile.  `make help` lists the targets and the variables to set.
VERSION := 0.1.0

# ---- what a user may set ----
PAPER    ?= $(filter-out selfcheck,$(patsubst suites/%/experiments.json,%,$(wildcard suites/*/experiments.json)))#: papers to take, by default all
PROFILE  ?= #: smoke, reproduce or full; by default reproduce on a GPU, smoke without
LAUNCHER ?= local#: local, or slurm for a Slurm cluster
SLURM_OPTS ?= #: with LAUNCHER=slurm more options for sbatch: partition, account, time
CC        = gcc#: host compiler
NVCC     := $(firstword $(NVCC) $(wildcard $(CUDA_HOME)/bin/nvcc) \
              $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA     ?= $(if $(NVCC),1,0)#: 1 builds with CUDA, 0 without; found by looking for nvcc
SM       ?= $(or $(FOUND_SM),80 89 90a)#: architectures to compile for; the GPU found, else three
CFLAGS   ?= -O2 -g#: added to those that the code needs
NVCCFLAGS ?= -O3 -lineinfo#: the same for nvcc
SANITIZE ?= 0#: 1 builds with address and undefined-behaviour sanitizers (CUDA=0)
JOBS     ?= $(shell nproc)#: compilers at a time, unless make -j says so
FUZZ_S   ?= 60#: seconds for each fuzz target
SWEEP    ?= #: more options for the sweep of train-selector: -r goes on with one that ended early
STRIP    ?= 1#: 0 keeps symbols in the bundle
V        ?= #: 1 shows whole command lines
DEPS     ?= 1#: 0 installs nothing
PREFIX   ?= /usr/local#: of `make install`

# Asked once, read only; "9.0" becomes 90a, which alone has wgmma and TMA.
ifeq ($(origin GPU_CC),undefined)
GPU_CC   := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | \
              grep -x '[0-9]*\.[0-9]' | sort -u)
endif
FOUND_SM := $(patsubst 90,90a,$(subst .,,$(GPU_CC)))
CLAIMBENCH = $(B)/claimbench
export CC CLAIMBENCH CUDA CUDA_LIB DEPS FUZZ_S GPU_CC LAUNCHER PAPER PROFILE SLURM_OPTS VERSION

# ---- files ----
B    := build/cuda$(CUDA)$(if $(filter 1,$(SANITIZE)),-sanitize)
SRC  := $(wildcard kernels/*.c kernels/*/*.c baselines/*.c harness/*.c suites/*.c suites/*/*.c)
CU   := $(wildcard kernels/*.cu kernels/*/*.cu baselines/*.cu harness/*.cu)
ifneq ($(CUDA),1)
SRC  := $(filter-out %_cuda.c %_cublas.c %_cusparse.c %_cudnn.c,$(SRC))
CU   :=
endif
OBJ  := $(SRC:%.c=$(B)/%.o) $(CU:%.cu=$(B)/%.cu.o)
LIB  := $(filter-out $(B)/suites/main.o,$(OBJ))
TEST := $(patsubst %.c,$(B)/%,$(wildcard tests/test_*.c))
GPU_TEST := $(patsubst %.c,$(B)/%,$(wildcard tests/gpu_*.c))
TEST_SH  := $(filter-out tests/bare.sh tests/sanitizer.sh tests/test_slurm.sh,$(wildcard tests/*.sh))
FUZZ := $(patsubst tests/%.c,build/fuzz/%,$(wildcard tests/fuzz_*.c))
# Without a GPU these are named and not run.
GPU_RUN  := $(GPU_TEST:%=$(if $(GPU_CC),$(if $(filter 1,$(CUDA)),,skip:),skip:)%)
DATA := configs plots $(patsubst %/experiments.json,%,$(wildcard suites/*/experiments.json))

# ---- flags ----
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
# Contraction to fused multiply-add differs between processors; generated inputs must not.
C_ALL := -std=gnu17 -fopenmp -ffp-contract=off $(WARN) $(CFLAGS)
ifeq ($(SANITIZE),1)
C_ALL += -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
CPPFLAGS += -I$(B)
LIBS := -ljansson -lhwloc -lopenblas -lcrypto -lz -ldl -lpthread -lm
ifeq ($(CUDA),1)
ifndef NVCC
$(error CUDA=1 but no nvcc: install the CUDA toolkit, or set CUDA_HOME or NVCC)
endif
CUDA_HOME := $(or $(CUDA_HOME),$(patsubst %/bin/nvcc,%,$(realpath $(NVCC))))
CUDA_LIB  := $(firstword $(wildcard $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib))
CPPFLAGS  += -DWITH_CUDA
CUDA_INC  := $(patsubst %,-isystem %,$(filter-out /usr/include,$(CUDA_HOME)/include))
# One machine code per architecture; for a later GPU, the newest portable one as PTX too.
newest    := $(lastword $(filter-out %a,$(SM)))
# Where nvcc can, machine code is packed tightly: a seventh of the size with lines of source.
PACKED    := $(if $(shell $(NVCC) --help | grep compress-mode),--compress-mode=size)
NVCC_ALL  := -std=c++17 -Xcompiler=-Wall,-Wextra $(PACKED) $(NVCCFLAGS)
gencode    = $(foreach s,$1,-gencode arch=compute_$(s),code=$2_$(s))
ARCH      := $(call gencode,$(SM),sm) $(call gencode,$(newest),compute)
LIBS      := -L$(CUDA_LIB) -lcublas -lcublasLt -lcusparse -lcudart -Wl,--as-needed -lstdc++ $(LIBS)
RPATH     := -Wl,-rpath,$(CUDA_LIB)
endif
say = $(if $(V),,@printf '  %-4s %s\n' $1 $@ &&)
link = $(call say,LD) $(CC) $(C_ALL) $(LDFLAGS) $1 -o $@ $(filter %.o,$^) $(LIBS)
# A serial `make` still compiles on all cores; `make -jN` is obeyed.
BUILD = +$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: all program tests check check-gpu smoke reproduce tables plots claims bundle deps stamp
.PHONY: fuzz fuzz-programs bare check-slurm check-sanitizer artifact artifact-check train-selector install clean
.PHONY: help force
.SECONDARY:
.DELETE_ON_ERROR:

all: ## build build/claimbench (default)
	@$(BUILD) program

check: deps ## build and run every test; those that need a GPU only where there is one
	@$(BUILD) tests
	@tests/run $(TEST) $(TEST_SH) $(GPU_RUN)

check-gpu: deps ## run only the tests that need a GPU
	@$(BUILD) tests
	@tests/run $(GPU_RUN)

check-sanitizer: deps ## run a part of those under compute-sanitizer: memcheck and racecheck
	@$(BUILD) tests
	@tests/sanitizer.sh $(GPU_RUN)

check-slurm: all ## run the tests that start a Slurm of their own (needs slurm-wlm, munge)
	@tests/run tests/test_slurm.sh

reproduce: deps ## set up, build, measure, draw and judge: all papers or PAPER=name
	@$(BUILD) program
	@tools/reproduce.sh run tables plots claims

smoke: deps ## the same on small problems, about a minute a paper on a GPU
	@$(BUILD) program
	@PROFILE=smoke tools/reproduce.sh run tables plots claims

tables plots claims: all ## make tables, draw figures, judge claims again, from stored results
	@tools/reproduce.sh $@

deps: ## install what is missing (Debian, Ubuntu)
	@tools/deps.sh build plot data $(if $(filter 1,$(CUDA)),cuda)
	@$(if $(GPU_CC),$(if $(NVCC),:,echo 'deps: a GPU but no nvcc, so a build without CUDA'),:)

bundle: ## one folder that runs where only the NVIDIA driver and CUDA libraries are installed
	@$(BUILD) program $(B)/bundled
	@$(B)/claimbench pack -o build/packed
	@tools/bundle.sh $(B)/bundled build/bundle/claimbench-$(VERSION) $(STRIP) $(DATA)

artifact: all ## package for evaluating an artifact: build/artifact/claimbench-VERSION-PAPER.tar.gz
	@tools/artifact.sh make $(PAPER)

artifact-check: artifact ## try it as an evaluator would: elsewhere, without network and GPU
	@tools/artifact.sh check $(PAPER)

install: all ## copy program and data below PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/claimbench
	install $(B)/claimbench $(DESTDIR)$(PREFIX)/lib/claimbench
	cp -r --parents $(DATA) $(DESTDIR)$(PREFIX)/lib/claimbench
	ln -sf ../lib/claimbench/claimbench $(DESTDIR)$(PREFIX)/bin/claimbench
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(B)/claimbench man > $(DESTDIR)$(PREFIX)/share/man/man1/claimbench.1
	$(B)/claimbench completion bash > \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/claimbench

train-selector: deps ## time random matrices on the GPU found, train daspmm_select anew (lightgbm)
	@$(BUILD) $(B)/tools/spmm_sweep
	$(B)/tools/spmm_sweep $(SWEEP) -o build/times.tsv.gz
	$(B)/tools/spmm_sweep $(SWEEP) -p -o build/times_presets.tsv.gz
	python3 suites/daspmm/train_choice.py build/times.tsv.gz --judge build/times_presets.tsv.gz

fuzz: ## feed broken inputs to the parsers for FUZZ_S seconds each (needs clang)
	@$(BUILD) fuzz-programs
	@tests/run $(FUZZ:%=fuzz:%)

bare: ## try `make reproduce` and `make check` of HEAD in a bare Debian tree (needs root)
	@tests/bare.sh

stamp: ## keep the commit in .stamp, for a copy of this tree without .git
	@tools/stamp.sh keep .stamp

clean: ## remove what was built; results and runs stay
	rm -rf $(filter-out build/packages,$(wildcard build/*))

help: ## this list
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28
	@sed -n 's/^\([A-Z_]*\) *?*= .*#: \(.*\)/  \1=\t\2/p' Makefile | expand -t 28

# ---- how files are made ----
program: $(B)/claimbench
	@$(if $(filter 1,$(SANITIZE)),,ln -sfn $(B:build/%=%)/claimbench build/claimbench)
tests: $(B)/claimbench $(TEST) $(GPU_TEST)
fuzz-programs: $(FUZZ)

$(B)/claimbench: $(OBJ)
	$(call link,$(RPATH))

# RPATH, unlike RUNPATH, also finds what the bundled libraries need themselves.
$(B)/bundled: $(OBJ)
	$(call link,-Wl$(,)--disable-new-dtags$(,)-rpath$(,)'$$ORIGIN/lib:/usr/local/cuda/lib64')

$(B)/tests/%: $(B)/tests/%.o $(LIB)
	$(call link,$(RPATH))

$(B)/tools/%: $(B)/tools/%.o $(LIB)
	$(call link,$(RPATH))

# Every allocation of the program passes through the test, which lets one after another fail.
$(B)/tests/test_suite: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

# The parsers alone, without OpenMP, for which clang has no runtime everywhere.
build/fuzz/fuzz_matrix build/fuzz/fuzz_checkpoint build/fuzz/fuzz_points: $(wildcard suites/data/*.c) harness/error.c harness/sha.c
build/fuzz/fuzz_config: suites/suite.c suites/expand.c harness/params.c harness/error.c kernels/op.c
build/fuzz/%: tests/%.c $(wildcard suites/*.h suites/data/*.h harness/*.h kernels/op.h)
	@mkdir -p $(@D)
	$(call say,FUZZ) clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -Wno-unknown-pragmas -o $@ $(filter %.c,$^) -ljansson -lz -lcrypto -lm

$(B)/%.o: %.c $(B)/flags.c | $(B)/stamp.h
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(C_ALL) $(CPPFLAGS) $(CUDA_INC) -MMD -MP -c -o $@ $<

# What needs wgmma or TMA is for 90a alone, whatever SM says; its row in the table says so too.
$(B)/%_sm90.cu.o: ARCH := $(call gencode,90a,sm)
$(B)/%.cu.o: %.cu $(B)/flags.cu | $(B)/stamp.h
	@mkdir -p $(@D)
	$(call say,NVCC) $(NVCC) $(NVCC_ALL) $(ARCH) $(CPPFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $<

# Rewritten when they differ, so that other flags make other objects.
$(B)/flags.c: FLAGS = $(CC) $(C_ALL) $(CPPFLAGS)
$(B)/flags.cu: FLAGS = $(NVCC) $(NVCC_ALL) $(ARCH) $(CPPFLAGS)
$(B)/flags.c $(B)/flags.cu: force
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@

$(B)/stamp.h: force
	@mkdir -p $(@D)
	@NVCC='$(if $(CU),$(NVCC))' SM='$(if $(CU),$(SM))' STAMP_CFLAGS='$(C_ALL)' \
	    STAMP_NVCCFLAGS='$(if $(CU),$(NVCC_ALL) $(ARCH))' tools/stamp.sh header $@

, := ,
-include $(OBJ:.o=.d) $(TEST:%=%.d) $(GPU_TEST:%=%.d)
