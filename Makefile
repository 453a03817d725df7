# ttg - one Makefile. `make` builds, `make demo` and `make check` also install what is missing.
#
#   make [PROFILE=release|debug|asan|tsan|coverage] [CC=gcc|clang] [WERROR=1]
#
# A new file in src/*/, tests/unit/ or tests/fuzz/ needs no edit here.

PROFILE ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
B := build/$(PROFILE)
PREFIX ?= /usr/local

PKGS := libuv hiredis librabbitmq jansson libmicrohttpd openssl libzstd liblz4 libxxhash zlib
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_coverage := -O0 -g --coverage
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes \
        -Wundef -Wwrite-strings $(if $(WERROR),-Werror)
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc
ALL_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARN) $(CFLAGS_$(PROFILE)) \
             $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(CFLAGS_$(PROFILE)) -Wl,--as-needed $(LDFLAGS)
LIBS = $(PKG_LIBS) -ldl -lm

# As many jobs as processors, unless -j says otherwise. `make V=1` shows the commands.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
Q := $(if $(V),,@)
SAY := @$(if $(V),:,printf '%-4s%s\n')

SRC := $(wildcard src/*/*.c src/*/*/*.c)
OBJ := $(SRC:%.c=$(B)/%.o)
LIB_OBJ := $(filter-out $(B)/src/cmd/%,$(OBJ))
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*_test.c))
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/*_fuzz.c))

.PHONY: all
all: $(B)/ttg $(B)/libttg.a
	@[ $(PROFILE) != release ] || ln -sfn release/ttg build/ttg
	@[ $(PROFILE) != release ] || ln -sfn release/libttg.a build/libttg.a

$(B)/ttg: $(OBJ)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(B)/libttg.a: $(LIB_OBJ)
	$(SAY) AR $@
	$(Q)rm -f $@; ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Everything but main, so that tests reach the commands too; only what a test uses is linked.
$(B)/all.a: $(filter-out $(B)/src/cmd/main.o,$(OBJ))
	$(SAY) AR $@
	$(Q)rm -f $@; ar rcs $@ $^

$(B)/tests/unit/%_test: $(B)/tests/unit/%_test.o $(B)/all.a
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

.PHONY: unit
unit: $(UNIT)
	tools/run-tests $(UNIT)

# Everything, in one profile: asan unless the command line names another.
CHECK_PROFILE := $(if $(filter command%,$(origin PROFILE)),$(PROFILE),asan)
INTEGRATION := $(wildcard tests/integration/*_test.py)

.PHONY: check check-run deps
check: deps
	$(Q)$(MAKE) --no-print-directory PROFILE=$(CHECK_PROFILE) WERROR=1 check-run
check-run: all $(UNIT)
	TTG=$(CURDIR)/$(B)/ttg tools/run-tests $(UNIT) $(INTEGRATION)

deps:
	@tools/deps build check

.PHONY: clean
clean:
	rm -rf build

-include $(shell find build/$(PROFILE) -name '*.d' 2>/dev/null)
.SECONDARY:
