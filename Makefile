# ttg - one Makefile. `make` builds; `make demo` and `make check` also install what is missing.
#
#   make [PROFILE=release|debug|asan|tsan|coverage] [CC=gcc|clang] [WERROR=1] [V=1]
#   make install [DESTDIR=] [PREFIX=/usr/local]   make uninstall
#   make deb      Debian packages, in build/packages
#   make demo     a first result                  make check      all tests, under asan+ubsan
#   make unit     unit tests, this profile        make coverage   the tests, and lines reached
#   make soak     kills and faults, the full counts
#   make tidy     layers, clang-tidy, cppcheck    make format     (format-check only looks)
#   make fuzz [SECONDS=60] [FUZZ=NAME]            make deps       install what is missing
#   make bench [WHAT="noop exec …"] [ROUNDS=5] [SYSTEMS="ttg rq …"]   side by side (docs/performance.md)
#   make bench QUICK=1   everything once and small: does it work?
#
# A new file in src/*/, tests/*/ needs no edit here.

PROFILE ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
B := build/$(PROFILE)
VERSION := $(shell sed -n 's/.*TTG_VERSION "\(.*\)"/\1/p' include/ttg/version.h)

PKGS := librabbitmq openssl libzstd libxxhash zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_coverage := -O0 -g --coverage
CFLAGS_fuzz := $(CFLAGS_asan) -fsanitize=fuzzer-no-link
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes \
        -Wundef -Wwrite-strings -Wno-missing-field-initializers $(if $(WERROR),-Werror)
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc
# Tests and benchmarks also see sim/.
$(B)/tests/%.o $(B)/bench/%.o $(B)/sim/%.o: CPPFLAGS += -I.

ALL_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARN) $(CFLAGS_$(PROFILE)) \
             $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(CFLAGS_$(PROFILE)) -Wl,--as-needed $(LDFLAGS)
LIBS = $(PKG_LIBS) -ldl -lm

# As many jobs as processors, unless -j says otherwise. V=1 shows the commands.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory
Q := $(if $(V),,@)
SAY := @$(if $(V),:,printf '%-4s%s\n')

SRC := $(wildcard src/*/*.c src/*/*/*.c)
OBJ := $(SRC:%.c=$(B)/%.o) $(B)/src/queue/redis_scripts.o $(B)/src/monitor/web_files.o
LIB_OBJ := $(filter-out $(B)/src/cmd/%,$(OBJ))
SIM_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out sim/main.c,$(wildcard sim/*.c)))
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*_test.c))
REPLAY := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/*_fuzz.c))
TOOLS := $(patsubst %.c,$(B)/%,$(wildcard tests/tools/*.c)) \
         $(patsubst %.c,$(B)/%.so,$(wildcard tests/shim/*.c))
SMOKE := $(addprefix $(B)/bench/,redis_bare pingpong spawn nap hang syncs.so)
INTEGRATION := $(wildcard tests/integration/*_test.py)
FORMATTED = $(shell find src include tests sim bench examples -name '*.[ch]' 2>/dev/null)

.PHONY: all
all: $(B)/ttg $(B)/libttg.a $(B)/libttg.so
	@[ $(PROFILE) != release ] || for f in $(^F); do ln -sfn release/$$f build/$$f; done

$(B)/ttg: $(OBJ)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# One object in which only ttg_* is left to link against: our buf_add is nobody's business.
$(B)/libttg.a: $(LIB_OBJ)
	$(SAY) AR $@
	$(Q)ld -r -o $(@:.a=.o) $^
	$(Q)objcopy --wildcard --keep-global-symbol='ttg_*' $(@:.a=.o)
	$(Q)rm -f $@; ar rcs $@ $(@:.a=.o)

$(B)/libttg.so: $(LIB_OBJ) src/lib/libttg.map
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libttg.so.0 \
	    -Wl,--version-script=src/lib/libttg.map -o $@ $(LIB_OBJ) $(LIBS)

build/gen/redis_scripts.c: $(wildcard src/queue/redis/*.lua src/queue/redis/lib/*.lua) tools/embed-lua
	@mkdir -p $(@D)
	$(Q)tools/embed-lua src/queue/redis >$@.new && mv $@.new $@

build/gen/web_files.c: $(wildcard web/*.* web/vendor/*.*) tools/embed-web
	@mkdir -p $(@D)
	$(Q)tools/embed-web web >$@.new && mv $@.new $@

$(B)/src/monitor/web_files.o: build/gen/web_files.c
$(B)/src/queue/redis_scripts.o: build/gen/redis_scripts.c
$(B)/src/monitor/web_files.o $(B)/src/queue/redis_scripts.o:
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/%.o: %.c | $(B)/.libraries
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/.libraries:
	@pkg-config --print-errors --exists $(PKGS) || \
	    { echo 'Libraries are missing: tools/deps installs them.' >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

# ---- tests

# Everything but main, so that tests reach the commands too; only what a test uses is linked.
$(B)/all.a: $(filter-out $(B)/src/cmd/main.o,$(OBJ)) $(SIM_OBJ)
	$(SAY) AR $@
	$(Q)rm -f $@; ar qcs $@ $^

# What plugin_test loads.
PLUGINS := $(patsubst %.c,$(B)/%.so,$(wildcard tests/unit/plugins/*.c))
$(B)/tests/unit/plugin_test: $(PLUGINS)
$(B)/tests/unit/plugins/%.so: tests/unit/plugins/%.c include/ttg/plugin.h
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) -shared -fPIC -O2 $(WARN) -Iinclude -o $@ $<

$(B)/tests/unit/%_test: $(B)/tests/unit/%_test.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter-out %.so,$^) $(LIBS) -lcmocka

# What integration tests need besides the real binary.
$(B)/tests/tools/%: $(B)/tests/tools/%.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Libraries to preload into the real binary; without sanitizers of their own.
$(B)/tests/shim/%.so: tests/shim/%.c
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -shared -fPIC -O2 -g -fvisibility=hidden -pthread $(WARN) \
	    -o $@ $< -ldl

# A fuzz target with its corpus and a few mutations of it, without libFuzzer: part of `check`.
$(B)/tests/fuzz/%_fuzz: $(B)/tests/fuzz/%_fuzz.o $(B)/tests/fuzz/replay.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/fuzz/%_libfuzzer: $(B)/tests/fuzz/%_fuzz.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

$(B)/bench/%.so: bench/%.c
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -shared -fPIC -O2 -fvisibility=hidden $(WARN) -o $@ $< -ldl

$(B)/bench/%: $(B)/bench/%.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: unit check check-run coverage fuzz fuzz-run demo deps
unit: $(UNIT)
	$(Q)tools/rules
	tools/run-tests $(UNIT)

# In one profile: asan unless the command line names another.
check: deps
	$(Q)$(MAKE) PROFILE=$(if $(filter command%,$(origin PROFILE)),$(PROFILE),asan) \
	    WERROR=$(or $(WERROR),$(CI)) check-run
check-run: all $(UNIT) $(REPLAY) $(B)/sim-node $(TOOLS) $(SMOKE)
	$(Q)TTG=$(CURDIR)/$(B)/ttg tools/run-tests $(UNIT) $(REPLAY) $(B)/sim-node $(INTEGRATION)

# The full counts of the tests that break things; SEED=N chooses other moments.
.PHONY: soak
soak: deps
	$(Q)$(MAKE) all $(B)/tests/unit/plugin_test $(TOOLS)
	$(Q)for t in run chaos chaos_fleet chaos_faults redis_sentinel redis_cluster redis_chaos redis_restart node_crash node_memory stateful pipeline_kill pipeline_aggregate amqp_cluster amqp_power amqp_chaos; do \
	    SOAK=1 SEED=$(SEED) TTG=$(CURDIR)/$(B)/ttg tests/integration/$${t}_test.py || exit 1; done

coverage: deps
	$(Q)find build/coverage -name '*.gcda' -delete 2>/dev/null || :
	$(Q)TTG_TEST_GENTLY=1 $(MAKE) PROFILE=coverage check-run; code=$$?; \
	gcovr -r . --filter src/ --html build/coverage/lines.html --print-summary \
	    --txt build/coverage/lines.txt build/coverage && exit $$code
	@echo 'By file: build/coverage/lines.txt, build/coverage/lines.html'

fuzz:
	@tools/deps build check fuzz
	$(Q)$(MAKE) PROFILE=fuzz CC=clang fuzz-run
SECONDS ?= 60
FUZZ ?= $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
fuzz-run: $(FUZZ:%=$(B)/tests/fuzz/%_libfuzzer)
	$(Q)tools/fuzz $(SECONDS) $^

demo:
	@tools/deps build
	$(Q)$(MAKE) all
	@build/ttg demo --fault-demo

deps:
	@tools/deps build check
	@tools/playwright

# ---- side by side with other systems

BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(filter-out bench/syncs.c,$(wildcard bench/*.c))) \
           $(B)/bench/syncs.so
.PHONY: bench bench-programs
bench:
	@tools/deps build check bench
	$(Q)$(MAKE) PROFILE=release all bench-programs
	bench/run.py $(WHAT) $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(SYSTEMS),--systems "$(SYSTEMS)")
bench-programs: $(BENCHES)

# ---- simulation of a node

# `make sim SEED=1 SECONDS=60`: seeds from SEED on, for so long; SECONDS=0: only that one.
# `make sim-planted`: bugs on purpose, one at a time; each must be noticed.
SEED ?= 1
PLANTED_NODE := $(patsubst %.c,$(B)/planted-node/%.o,$(wildcard src/core/ledger*.c sim/node_*.c))
$(B)/planted-node/%.o: CPPFLAGS += -I. -DLEDGER_PLANTED
$(B)/planted-node/%.o: %.c | $(B)/.libraries
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/sim-node: $(B)/sim/node/main.o $(B)/all.a
$(B)/sim-node-planted: $(B)/sim/node/main.o $(PLANTED_NODE) $(B)/all.a
$(B)/sim-node $(B)/sim-node-planted:
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: sim sim-planted
sim: $(B)/sim-node
	$< --seed $(SEED) --seconds $(SECONDS)
sim-planted: $(B)/sim-node-planted
	$< --seed $(SEED) --planted

# ---- simulation of raft

# `make sim-raft SEED=1 SECONDS=60`: seeds from SEED on, for so long; SECONDS=0: only that one.
# `make sim-raft-planted`: rules of raft are bent, one at a time; each must be noticed.
PLANTED_RAFT := $(patsubst %.c,$(B)/planted-raft/%.o,$(wildcard src/core/raft/*.c sim/raft*.c))
$(B)/planted-raft/%.o: CPPFLAGS += -I. -DRAFT_PLANTED
$(B)/planted-raft/%.o: %.c | $(B)/.libraries
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/sim-raft: $(B)/sim/raft/main.o $(B)/all.a
$(B)/sim-raft-planted: $(B)/planted-raft/sim/raft/main.o $(PLANTED_RAFT) $(B)/all.a
$(B)/tests/unit/raft_planted_test.o: CPPFLAGS += -DRAFT_PLANTED
$(B)/tests/unit/raft_planted_test: $(B)/tests/unit/raft_planted_test.o $(PLANTED_RAFT) $(B)/all.a
$(B)/sim-raft $(B)/sim-raft-planted $(B)/tests/unit/raft_planted_test:
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(if $(findstring _test,$@),-lcmocka)

.PHONY: sim-raft sim-raft-planted
sim-raft: $(B)/sim-raft
	$< --seed $(SEED) --seconds $(SECONDS)
sim-raft-planted: $(B)/sim-raft-planted
	$< --seed $(SEED) --all-plants

# ---- cleanliness

CLANG_FORMAT := $(or $(shell command -v clang-format-14),clang-format)
.PHONY: tidy format format-check
tidy:
	$(Q)tools/tidy
format:
	$(Q)$(CLANG_FORMAT) -i $(FORMATTED)
format-check:
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)

# ---- install

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
BIN := $(DESTDIR)$(PREFIX)/bin
LIB := $(DESTDIR)$(LIBDIR)
INCLUDE := $(DESTDIR)$(PREFIX)/include/ttg
SHARE := $(DESTDIR)$(PREFIX)/share
DOC := $(SHARE)/doc/ttg
# Where systemd looks, for /usr and /usr/local alike.
UNIT_DIR := $(DESTDIR)$(PREFIX)/lib/systemd/system
SYSUSERS := $(DESTDIR)$(PREFIX)/lib/sysusers.d
UNITS := $(wildcard deploy/systemd/*.service)
ZSH_FUNCTIONS ?= site-functions
COMPLETIONS := bash-completion/completions/ttg zsh/$(ZSH_FUNCTIONS)/_ttg \
               fish/vendor_completions.d/ttg.fish

.PHONY: install uninstall deb clean
install: all
	install -d $(BIN) $(LIB)/pkgconfig $(INCLUDE) $(SHARE)/man/man1 \
	    $(dir $(COMPLETIONS:%=$(SHARE)/%)) $(UNIT_DIR) $(SYSUSERS) \
	    $(DOC)/decisions $(DOC)/plots $(addprefix $(DOC)/examples/,grafana lib plugin prometheus systemd)
	install $(B)/ttg $(BIN)/ttg
	install -m 644 $(B)/libttg.a $(LIB)/libttg.a
	install -m 644 $(B)/libttg.so $(LIB)/libttg.so.$(VERSION)
	ln -sfn libttg.so.$(VERSION) $(LIB)/libttg.so.0
	ln -sfn libttg.so.0 $(LIB)/libttg.so
	install -m 644 include/ttg/*.h $(INCLUDE)
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LIBS)|' \
	    src/lib/ttg.pc.in >$(LIB)/pkgconfig/ttg.pc
	$(B)/ttg help --man >$(SHARE)/man/man1/ttg.1
	$(B)/ttg help --completion bash >$(SHARE)/$(word 1,$(COMPLETIONS))
	$(B)/ttg help --completion zsh >$(SHARE)/$(word 2,$(COMPLETIONS))
	$(B)/ttg help --completion fish >$(SHARE)/$(word 3,$(COMPLETIONS))
	for unit in $(UNITS); do \
	    sed 's|=/usr/bin/ttg|=$(PREFIX)/bin/ttg|' $$unit >$(UNIT_DIR)/$${unit##*/} || exit 1; done
	install -m 644 deploy/systemd/sysusers.conf $(SYSUSERS)/ttg.conf
	sed 's|(docs/|(|g' README.md >$(DOC)/README.md
	install -m 644 CHANGELOG.md docs/*.md docs/*.png $(DOC)
	install -m 644 docs/decisions/*.md $(DOC)/decisions
	install -m 644 docs/plots/* $(DOC)/plots
	install -m 644 deploy/systemd/*.env $(DOC)/examples/systemd
	install examples/*.sh examples/*.py $(DOC)/examples
	install -m 644 $(filter-out %/Makefile,$(wildcard examples/lib/*)) $(DOC)/examples/lib
	install -m 644 examples/plugin/*.c $(DOC)/examples/plugin
	install -m 644 deploy/prometheus/*.yml $(DOC)/examples/prometheus
	install -m 644 deploy/grafana/*.json $(DOC)/examples/grafana

uninstall:
	rm -rf $(BIN)/ttg $(LIB)/libttg.* $(LIB)/pkgconfig/ttg.pc $(INCLUDE) \
	    $(SHARE)/man/man1/ttg.1 $(COMPLETIONS:%=$(SHARE)/%) $(DOC) \
	    $(UNITS:deploy/systemd/%=$(UNIT_DIR)/%) $(SYSUSERS)/ttg.conf

# Built apart from the others, with the flags of Debian.
deb:
	@tools/deps build deb
	$(Q)packaging/build-deb build/packages

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
