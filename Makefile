# SPDX-License-Identifier: GPL-2.0-or-later
# One non-recursive Makefile. `make help` lists the targets; V=1 shows the commands; O=DIR builds elsewhere.

O       ?= build
CC      ?= gcc
CLANG   ?= clang
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

VERSION := $(shell cat VERSION)

# --- what to compile -------------------------------------------------------------------------------------------------
IMAGE_SRC   := $(wildcard tcmu-handler/image/*.c)
HANDLER_SRC := $(wildcard tcmu-handler/*.c)
ENGINE_SRC  := $(filter-out tcmu-handler/handler.c,$(HANDLER_SRC))
DAEMON_MAIN := daemon/bootwelld.c daemon/bootwell.c daemon/bootwell_configfs.c daemon/bootwell_doctor.c
DAEMON_SRC  := $(filter-out $(DAEMON_MAIN),$(wildcard daemon/*.c))
UNIT_SRC    := $(wildcard tests/unit/test_*.c)
CRASH_SRC   := $(wildcard tests/crash/test_*.c)
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
TOOL_SRC    := $(wildcard tests/net/tool_*.c tests/bench/tool_*.c tests/vm/tool_*.c)
BPF_SRC     := $(wildcard bpf/*.bpf.c)
SCD_SRC     := $(wildcard docs/*.scd)

obj = $(patsubst %.c,$(O)/%.o,$(1))
UNIT_BIN  := $(patsubst %.c,$(O)/%,$(UNIT_SRC))
CRASH_BIN := $(patsubst %.c,$(O)/%,$(CRASH_SRC))
FUZZ_BIN  := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
TOOL_BIN  := $(patsubst %.c,$(O)/%,$(TOOL_SRC))
BPF_SKEL  := $(patsubst bpf/%.bpf.c,$(O)/bpf/%.skel.h,$(BPF_SRC))
MAN       := $(patsubst docs/%.scd,$(O)/man/%,$(SCD_SRC))

# --- how -------------------------------------------------------------------------------------------------------------
CPPFLAGS += -D_GNU_SOURCE -DBOOTWELL_VERSION='"$(VERSION)"' -I. -I$(O)
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu17 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wshadow \
            -fno-strict-aliasing -fstack-protector-strong -fvisibility=hidden -fPIC -pthread -msse4.2 $(PREFIX_MAP) $(EXTRA_CFLAGS)
# No folder of the machine that builds gets into a program, so that another one makes the same bytes.
PREFIX_MAP := -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(O)/=build/
LDFLAGS  += -pthread -Wl,--as-needed $(EXTRA_LDFLAGS)

pc = $(shell pkg-config --$(1) $(2) 2>/dev/null)
ENGINE_PKGS := liburing zlib
DAEMON_PKGS := liburing libnl-route-3.0 libnl-genl-3.0 libbpf inih jansson libmicrohttpd sqlite3 libsystemd libcap-ng zlib nettle libcurl libntfs-3g hivex ext2fs libarchive
CPPFLAGS    += $(call pc,cflags,libnl-3.0)
ENGINE_LIBS  = $(call pc,libs,$(ENGINE_PKGS))
DAEMON_LIBS  = $(call pc,libs,$(DAEMON_PKGS))

.PHONY: all help deps lint format check check-fast demo clean asan fuzz iso deb man tests bench-programs
all: $(O)/bootwelld $(O)/bootwell $(O)/bootwell-configfs $(O)/handler_bootwell.so man  ## build everything

all: $(O)/bootwell-capture $(O)/bootwell-overlay $(O)/bootwell-doctor

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{sub(/ +$$/,"",$$1); printf "  make %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

deps:  ## install the Debian packages that are missing (as root)
	$(Q)tests/deps $(DEPS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# --- BPF: vmlinux.h is not used, only UAPI headers, so that a build does not depend on the running kernel ------------
$(O)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -I. -I/usr/include/$(shell uname -m)-linux-gnu $(PREFIX_MAP) -c $< -o $@
$(O)/bpf/%.skel.h: $(O)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)bpftool gen skeleton $< name $(subst -,_,$*)_bpf > $@
$(call obj,$(DAEMON_SRC) $(DAEMON_MAIN)): | $(BPF_SKEL)
$(patsubst %,%.o,$(UNIT_BIN) $(TOOL_BIN)): | $(BPF_SKEL)

$(O)/daemon/page.o: $(wildcard daemon/page/*)

# --- libraries and programs ------------------------------------------------------------------------------------------
$(O)/libimage.a: $(call obj,$(IMAGE_SRC))
$(O)/libengine.a: $(call obj,$(ENGINE_SRC))
$(O)/libdaemon.a: $(call obj,$(DAEMON_SRC))
$(O)/%.a:
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/handler_bootwell.so: $(O)/tcmu-handler/handler.o $(O)/libengine.a $(O)/libimage.a
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-z,now -o $@ $^ $(ENGINE_LIBS)
$(O)/bootwelld: $(O)/daemon/bootwelld.o $(O)/libdaemon.a $(O)/libimage.a $(O)/tcmu-handler/inflate.o
$(O)/bootwell: $(O)/daemon/bootwell.o $(O)/libdaemon.a $(O)/libimage.a $(O)/tcmu-handler/inflate.o
$(O)/bootwell-configfs: $(O)/daemon/bootwell_configfs.o $(O)/daemon/configfs.o $(O)/daemon/configfs_remote.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pc,libs,libsystemd)
$(O)/bootwell-capture: $(O)/initramfs/capture/capture.o $(O)/initramfs/capture/disks.o $(O)/libdaemon.a $(O)/libimage.a $(O)/tcmu-handler/inflate.o
$(O)/bootwelld $(O)/bootwell $(O)/bootwell-capture:
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

$(O)/bootwell-doctor: $(O)/daemon/bootwell_doctor.o $(O)/libdaemon.a $(O)/libimage.a $(O)/tcmu-handler/inflate.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS)
$(O)/bootwell-overlay: $(O)/tcmu-handler/export/bootwell_overlay.o $(O)/libengine.a $(O)/libimage.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(ENGINE_LIBS)

# --- tests -----------------------------------------------------------------------------------------------------------
TEST_LIBS := $(O)/libdaemon.a $(O)/libengine.a $(O)/libimage.a
$(UNIT_BIN) $(CRASH_BIN): $(O)/%: $(O)/%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(filter %.a,$^) -lcunit $(DAEMON_LIBS) $(ENGINE_LIBS)
$(TOOL_BIN): $(O)/%: $(O)/%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(filter %.a,$^) $(DAEMON_LIBS) $(ENGINE_LIBS)
$(O)/tests/unit/test_configfs_remote: | $(O)/bootwell-configfs
tests: $(UNIT_BIN) $(CRASH_BIN) $(TOOL_BIN)

# Fuzz harnesses: whole library rebuilt with clang, libFuzzer, ASan and UBSan, in a build folder of its own.
FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_LIB_OBJ := $(patsubst %.c,$(O)/fuzzobj/%.o,$(IMAGE_SRC) $(ENGINE_SRC) $(DAEMON_SRC))
$(O)/fuzzobj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -std=gnu17 -fno-strict-aliasing -pthread -msse4.2 -MMD -MP -c $< -o $@
$(patsubst %.c,$(O)/fuzzobj/%.o,$(DAEMON_SRC)): | $(BPF_SKEL)
$(O)/fuzz/libfuzzed.a: $(FUZZ_LIB_OBJ)
$(FUZZ_BIN): $(O)/fuzz/%: $(O)/fuzzobj/tests/fuzz/%.o $(O)/fuzz/libfuzzed.a
	$(call say,FUZZLD,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $< $(filter %.a,$^) $(DAEMON_LIBS) $(ENGINE_LIBS)
fuzz: $(FUZZ_BIN)  ## run every fuzz harness for SECONDS=n each (default 60)
	$(Q)tests/fuzz/run $(O) $(or $(SECONDS),60)

# gcc warns of more when it instruments, much of it not so: no errors.
asan:  ## unit and crash tests under ASan and UBSan
	$(Q)$(MAKE) O=$(O)/asan EXTRA_CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -Wno-error' \
		EXTRA_LDFLAGS='-fsanitize=address,undefined' all tests
	$(Q)tests/run -o $(O)/asan unit crash

check:  ## install what is missing, build, run every test that this machine can run
	$(Q)$(MAKE) deps DEPS=check
	$(Q)$(MAKE) -j$(shell nproc) all tests $(FUZZ_BIN)
	$(Q)tests/run -o $(O)
check-fast: all tests  ## unit and crash tests only
	$(Q)tests/run -o $(O) unit crash
demo:  ## install what is missing, build, boot an appliance and a diskless PC in QEMU
	$(Q)$(MAKE) deps DEPS=demo
	$(Q)$(MAKE) -j$(shell nproc) all
	$(Q)tests/vm/demo $(O)

lint:  ## clang build, shellcheck, layering
	$(Q)$(MAKE) CC=clang O=$(O)/clang all tests
	$(Q)tests/lint

format:  ## clang-format the tree
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

# --- benchmarks: speed lives here, never in a test -------------------------------------------------------------------
.PHONY: bench-engine bench-tftp bench-dhcp bench-lio bench-storm bench-capture bench-scrape
bench-engine:   ## the overlay and the caches against qemu and nbdkit; like all of them: a table, ratios, build/bench/NAME.json
bench-lio:      ## in the VM, through LIO and an initiator, against fileio, tgt and tcmu-runner's own handlers
bench-tftp:     ## user space and in the kernel, against dnsmasq, tftpd-hpa, atftpd
bench-dhcp:     ## four-message exchanges, against Kea, dnsmasq, isc-dhcpd
bench-storm:    ## 500 PCs switched on within 2 s, against dnsmasq
bench-capture:  ## a disk sent, against partclone over a socket and qemu-img convert
bench-scrape:   ## /metrics and /run/bootwell/stat with 500 PCs, against the goal of 100 ms
bench-engine bench-tftp bench-dhcp bench-lio bench-storm bench-capture bench-scrape: all tests
	$(Q)$(MAKE) deps DEPS=bench
	$(Q)tests/bench/$(patsubst bench-%,%,$@) $(O)

# --- installing ------------------------------------------------------------------------------------------------------
PREFIX ?= /usr
.PHONY: install
install: all  ## put it into the system (or into DESTDIR)
	$(call say,INSTALL,$(DESTDIR)/)
	$(Q)conf/install $(O) "$(DESTDIR)" $(PREFIX)

deb: all  ## a package for Debian 12: build/bootwell_VERSION_ARCH.deb
	$(Q)conf/make-deb $(O)

iso: all  ## the appliance: build/bootwell.iso, for a CD or (written as it is) a USB stick
	$(Q)$(MAKE) deps DEPS=iso
	$(Q)initramfs/make-iso $(O)
.PHONY: iso-twice
iso-twice: iso  ## build the programs and the ISO a second time, elsewhere, and compare: the same bytes
	$(Q)$(MAKE) O=$(O)/twice iso
	$(Q)cmp $(O)/bootwell.iso $(O)/twice/bootwell.iso
	$(Q)sha256sum $(O)/bootwell.iso $(O)/twice/bootwell.iso
.PHONY: update
update: iso  ## build/bootwell.update for an appliance in service, signed: SIGN_KEY=ssh-key
	$(Q)initramfs/make-update $(O) "$(SIGN_KEY)"

man: $(MAN)  ## manual pages
$(O)/man/%: docs/%.scd
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)scdoc < $< > $@

clean:  ## remove what the build made (keeps the cached root trees under build/vm)
	$(Q)rm -rf $(filter-out $(O)/vm,$(wildcard $(O)/*))

-include $(shell find $(addprefix $(O)/,daemon tcmu-handler tests initramfs fuzzobj) -type f -name '*.d' 2>/dev/null)
