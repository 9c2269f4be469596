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

# --- what to compile ------------------------------------------------------------------------------------------------
# find_c FOLDER: its .c files, in any depth
find_c       = $(sort $(shell find $(1) -name '*.c'))
IMAGE_SRC   := $(call find_c,tcmu-handler/image)
INFLATE_SRC := $(call find_c,tcmu-handler/inflate)
ENGINE_SRC  := $(filter-out $(IMAGE_SRC) $(INFLATE_SRC) tcmu-handler/export/% tcmu-handler/handler.c,\
               $(call find_c,tcmu-handler))
DAEMON_MAIN := daemon/bootwelld.c daemon/cli/bootwell.c daemon/target/bootwell_configfs.c \
               daemon/doctor/bootwell_doctor.c daemon/config/bootwell_paths.c
DAEMON_DIRS := $(notdir $(sort $(shell find daemon -mindepth 1 -maxdepth 1 -type d)))
DAEMON_SRC  := $(filter-out $(DAEMON_MAIN),$(call find_c,daemon))
UNIT_SRC    := $(filter tests/unit/test_%,$(call find_c,tests/unit))
CRASH_SRC   := $(filter tests/crash/test_%,$(call find_c,tests/crash))
FUZZ_SRC    := $(filter tests/fuzz/fuzz_%,$(call find_c,tests/fuzz))
SIM_SRC     := $(call find_c,tests/sim)
TOOL_SRC    := $(foreach c,$(call find_c,tests),$(if $(filter tool_%,$(notdir $(c))),$(c)))
BPF_SRC     := $(wildcard bpf/*.bpf.c)
SCD_SRC     := $(wildcard docs/*.scd)

obj = $(patsubst %.c,$(O)/%.o,$(1))
UNIT_BIN  := $(patsubst %.c,$(O)/%,$(UNIT_SRC))
CRASH_BIN := $(patsubst %.c,$(O)/%,$(CRASH_SRC))
FUZZ_BIN  := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
SIM_BIN   := $(O)/tests/sim/test_room
TOOL_BIN  := $(patsubst %.c,$(O)/%,$(TOOL_SRC))
BPF_SKEL  := $(patsubst bpf/%.bpf.c,$(O)/bpf/%.skel.h,$(BPF_SRC))
MAN       := $(patsubst docs/%.scd,$(O)/man/%,$(SCD_SRC))

# --- how ------------------------------------------------------------------------------------------------------------
CPPFLAGS += -D_GNU_SOURCE -DBOOTWELL_VERSION='"$(VERSION)"' -I. -I$(O)
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu17 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wshadow \
            -fno-strict-aliasing -fstack-protector-strong -fvisibility=hidden -fPIC -pthread -msse4.2 $(PREFIX_MAP) \
            $(EXTRA_CFLAGS)
# No folder of the machine that builds gets into a program, so that another one makes the same bytes.
PREFIX_MAP := -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(O)/=build/
LDFLAGS  += -pthread -Wl,--as-needed $(EXTRA_LDFLAGS)

pc = $(shell pkg-config --$(1) $(2) 2>/dev/null)
ENGINE_PKGS := liburing zlib
DAEMON_PKGS := liburing libnl-route-3.0 libnl-genl-3.0 libbpf inih jansson libmicrohttpd sqlite3 libsystemd \
               libcap-ng zlib nettle gnutls libcurl libntfs-3g hivex ext2fs libarchive
CPPFLAGS    += $(call pc,cflags,libnl-3.0)
ENGINE_LIBS  = $(call pc,libs,$(ENGINE_PKGS))
DAEMON_LIBS  = $(call pc,libs,$(DAEMON_PKGS)) -lcrypt

.PHONY: all help deps lint format check check-fast demo clean asan tsan compdb analyze coverage planted fuzz iso deb man
.PHONY: tests bench-programs
all: $(O)/bootwelld $(O)/bootwell $(O)/bootwell-configfs $(O)/handler_bootwell.so man  ## build everything

all: $(O)/bootwell-capture $(O)/bootwell-overlay $(O)/bootwell-doctor $(O)/bootwell-paths

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{sub(/ +$$/,"",$$1); printf "  make %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

deps:  ## install the Debian packages that are missing (as root)
	$(Q)tests/deps $(DEPS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# --- BPF: vmlinux.h is not used, only UAPI headers, so that a build does not depend on the running kernel -----------
$(O)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -I. -I/usr/include/$(shell uname -m)-linux-gnu \
		$(PREFIX_MAP) -c $< -o $@
$(O)/bpf/%.skel.h: $(O)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)bpftool gen skeleton $< name $(subst -,_,$*)_bpf > $@
$(call obj,$(DAEMON_SRC) $(DAEMON_MAIN)): | $(BPF_SKEL)
$(patsubst %,%.o,$(UNIT_BIN) $(TOOL_BIN)) $(call obj,$(SIM_SRC)): | $(BPF_SKEL)

$(O)/daemon/control/page.o: $(wildcard daemon/control/page/*)
$(O)/daemon/alert/rules.o $(O)/fuzzobj/daemon/alert/rules.o: conf/bootwell.rules.yml

# --- libraries and programs -----------------------------------------------------------------------------------------
$(O)/libreader.a: $(call obj,$(IMAGE_SRC))
$(O)/libinflate.a: $(call obj,$(INFLATE_SRC))
$(O)/libengine.a: $(call obj,$(ENGINE_SRC))
# One library a folder of daemon/. Each program names the folders that it is made of (tests/layers.table).
define daemon_library
$(O)/lib$(1).a: $(call obj,$(filter daemon/$(1)/%,$(DAEMON_SRC)))
endef
$(foreach d,$(DAEMON_DIRS),$(eval $(call daemon_library,$(d))))
reader = $(O)/libreader.a $(O)/libinflate.a
libs = $(patsubst %,$(O)/lib%.a,$(1)) $(reader)
$(O)/%.a:
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/handler_bootwell.so: $(O)/tcmu-handler/handler.o $(O)/libengine.a $(O)/libreader.a $(O)/libinflate.a
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-z,now -o $@ $^ $(ENGINE_LIBS)
# A library stands before those that it uses; without groups, so that the linker refuses a layer that is broken.
SERVER_LIBS  := control alert upload commit tftp dhcp boot catalogue target doctor image state config core
COMMAND_LIBS := cli checkup uploader image dhcp state config core
CAPTURE_LIBS := uploader doctor image core
DOCTOR_LIBS  := doctor image core
PATHS_LIBS   := config core
$(O)/bootwelld: $(O)/daemon/bootwelld.o $(call libs,$(SERVER_LIBS))
$(O)/bootwell: $(O)/daemon/cli/bootwell.o $(call libs,$(COMMAND_LIBS))
$(O)/bootwell-capture: $(patsubst %,$(O)/initramfs/capture/%.o,capture disks) $(call libs,$(CAPTURE_LIBS))
$(O)/bootwell-doctor: $(O)/daemon/doctor/bootwell_doctor.o $(call libs,$(DOCTOR_LIBS))
$(O)/bootwell-paths: $(O)/daemon/config/bootwell_paths.o $(call libs,$(PATHS_LIBS))
$(O)/bootwelld $(O)/bootwell $(O)/bootwell-capture $(O)/bootwell-doctor $(O)/bootwell-paths:
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(DAEMON_LIBS)
$(O)/bootwell-configfs: $(patsubst %,$(O)/daemon/target/%.o,bootwell_configfs configfs configfs_remote)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pc,libs,libsystemd)
$(O)/bootwell-overlay: $(O)/tcmu-handler/export/bootwell_overlay.o $(O)/libengine.a $(O)/libreader.a $(O)/libinflate.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(ENGINE_LIBS)

# --- tests ----------------------------------------------------------------------------------------------------------
TEST_LIBS := $(patsubst %,$(O)/lib%.a,$(DAEMON_DIRS) engine reader inflate)
grouped = -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
$(UNIT_BIN) $(CRASH_BIN): $(O)/%: $(O)/%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(grouped) -lcunit $(DAEMON_LIBS) $(ENGINE_LIBS)
$(TOOL_BIN): $(O)/%: $(O)/%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(grouped) $(DAEMON_LIBS) $(ENGINE_LIBS)
# The room: the daemon's libraries, with a loop, clocks, sockets and a disk of its own in place of the machine's.
SIM_WRAP := clock_gettime time getrandom socket sendto sendmmsg close read timerfd_create timerfd_settime \
            book_order book_clock_was_set book_quarantine lease_table_due peer_held_answered dhcp_decide_held
$(SIM_BIN): $(call obj,$(SIM_SRC)) $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(SIM_WRAP:%=-Wl,--wrap=%) -o $@ $(filter %.o,$^) $(grouped) $(DAEMON_LIBS) \
		$(ENGINE_LIBS)
$(O)/tests/unit/test_configfs_remote: | $(O)/bootwell-configfs
.PHONY: objects
objects: $(call obj,$(call find_c,daemon tcmu-handler initramfs)) \
         $(patsubst %,%.o,$(UNIT_BIN) $(CRASH_BIN) $(TOOL_BIN)) $(call obj,$(SIM_SRC))
tests: $(UNIT_BIN) $(CRASH_BIN) $(TOOL_BIN) $(SIM_BIN)

# Fuzz harnesses: whole library rebuilt with clang, libFuzzer, ASan and UBSan, in a build folder of its own.
FUZZ_FLAGS := -Wall -Wextra -Werror -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_LIB_OBJ := $(patsubst %.c,$(O)/fuzzobj/%.o,$(IMAGE_SRC) $(INFLATE_SRC) $(ENGINE_SRC) $(DAEMON_SRC))
$(O)/fuzzobj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -std=gnu17 -fno-strict-aliasing -pthread -msse4.2 -MMD -MP -c $< -o $@
$(patsubst %.c,$(O)/fuzzobj/%.o,$(DAEMON_SRC)): | $(BPF_SKEL)
$(O)/fuzz/libfuzzed.a: $(FUZZ_LIB_OBJ)
$(FUZZ_BIN): $(O)/fuzz/%: $(O)/fuzzobj/tests/fuzz/%.o $(O)/fuzz/libfuzzed.a
	$(call say,FUZZLD,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $< $(grouped) $(DAEMON_LIBS) $(ENGINE_LIBS)
fuzz: $(FUZZ_BIN)  ## run every fuzz harness for SECONDS=n each (default 60)
	$(Q)tests/fuzz/run $(O) $(or $(SECONDS),60)

# gcc warns of more when it instruments, much of it not so: no errors.
asan:  ## unit and crash tests under ASan and UBSan
	$(Q)$(MAKE) O=$(O)/asan \
		EXTRA_CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -Wno-error' \
		EXTRA_LDFLAGS='-fsanitize=address,undefined' all tests
	$(Q)tests/run -o $(O)/asan unit crash

# Without those that stand in for malloc() or liburing, which ThreadSanitizer has to see, and the sandboxes' own, which
# limit the address space that it needs.
NOT_TSAN := engine_faults engine_handler image_faults doctor_sandbox image_sandbox
TSAN_TESTS := $(patsubst %.c,$(O)/tsan/%,$(filter-out $(NOT_TSAN:%=tests/unit/test_%.c),$(UNIT_SRC)) $(CRASH_SRC))
tsan:  ## unit and crash tests under ThreadSanitizer
	$(Q)$(MAKE) O=$(O)/tsan EXTRA_CFLAGS='-fsanitize=thread -O1 -Wno-error' EXTRA_LDFLAGS='-fsanitize=thread' \
		$(TSAN_TESTS) $(O)/tsan/bootwell-configfs
	$(Q)CRASH_POINTS=3000 TSAN_OPTIONS=history_size=4 tests/run -o $(O)/tsan $(TSAN_TESTS)

compdb:  ## compile_commands.json, for clangd and clang-tidy
	@mkdir -p $(O)
	$(Q)$(MAKE) -nB V=1 all tests | tests/compdb > $(O)/compile_commands.json
	$(Q)ln -sf $(O)/compile_commands.json compile_commands.json
analyze: $(BPF_SKEL)  ## clang-tidy, cppcheck and gcc -fanalyzer; findings may only get fewer (tests/analyze.baseline)
	$(Q)$(MAKE) deps DEPS=analyze
	$(Q)$(MAKE) compdb
	$(Q)tests/analyze $(O)
coverage:  ## branch coverage of the parts that decide, by unit and crash tests: a table
	$(Q)$(MAKE) O=$(O)/coverage EXTRA_CFLAGS='--coverage -O0 -Wno-error -fprofile-update=atomic' \
		EXTRA_LDFLAGS=--coverage all tests
	$(Q)tests/coverage $(O)/coverage
planted:  ## small wrong changes, one at a time: each must be caught by a test (tests/planted)
	$(Q)tests/planted/run $(O) $(BUGS)

.PHONY: sim
sim: $(SIM_BIN)  ## SEEDS=n rooms with two DHCP servers and faults in one process (10000; FIRST=n), or SEED=n alone
	$(Q)$(SIM_BIN) $(if $(SEED),-s $(SEED),-n $(or $(SEEDS),10000) -f $(or $(FIRST),1))

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

lint: all  ## the rules of the tree that a program can check, and the sources as clang sees them; under 90 s
	$(Q)$(MAKE) CC=clang O=$(O)/clang EXTRA_CFLAGS='-O0 -g0' objects
	$(Q)tests/lint

format:  ## clang-format the tree
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

# --- benchmarks: speed lives here, never in a test ------------------------------------------------------------------
# AGAINST=COMMIT, with the first five: this tree against that one, in turns.
.PHONY: bench-engine bench-tftp bench-dhcp bench-lio bench-storm bench-capture bench-scrape bench-hostile bench-fair
bench-engine:   ## the overlay and the caches against qemu and nbdkit; all print a table and write build/bench/NAME.json
bench-lio:      ## in the VM, through LIO and an initiator, against fileio, tgt and tcmu-runner's own handlers
bench-fair:     ## 50 quiet PCs beside one at full speed, against the same without it
bench-tftp:     ## user space and in the kernel, against dnsmasq, tftpd-hpa, atftpd
bench-dhcp:     ## four-message exchanges, against Kea, dnsmasq, isc-dhcpd
bench-storm:    ## 500 PCs switched on within 2 s, against dnsmasq
bench-capture:  ## a disk sent, against partclone over a socket and qemu-img convert
bench-hostile:  ## DHCP and TFTP of 50 PCs while one host means harm, against dnsmasq and AGAINST=COMMIT, in turns
bench-scrape:   ## /metrics and /run/bootwell/stat with 500 PCs, against the goal of 100 ms
bench-engine bench-tftp bench-dhcp bench-lio bench-storm bench-capture bench-scrape bench-hostile bench-fair: all tests
	$(Q)$(MAKE) deps DEPS=bench
	$(Q)$(if $(and $(AGAINST),$(filter-out bench-hostile,$@)),tests/bench/against $(@:bench-%=%) $(O) $(AGAINST),\
		AGAINST=$(AGAINST) tests/bench/$(@:bench-%=%) $(O))

# --- installing -----------------------------------------------------------------------------------------------------
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
