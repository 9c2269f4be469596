/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `bootwell doctor` reads out of a firewall's rules and of lines of the kernel's log. */
#include "tests/unit/unit.h"

#include "daemon/checkup/checkup.h"

#define OPEN_CHAIN                                                                                                     \
	"{\"chain\": {\"name\": \"input\", \"type\": \"filter\", \"hook\": \"input\", \"policy\": \"accept\"}}"
#define CLOSED_CHAIN                                                                                                   \
	"{\"chain\": {\"name\": \"input\", \"type\": \"filter\", \"hook\": \"input\", \"policy\": \"drop\"}}"
#define OUTPUT_CHAIN                                                                                                   \
	"{\"chain\": {\"name\": \"out\", \"type\": \"filter\", \"hook\": \"output\", \"policy\": \"drop\"}}"
#define RULE(protocol, right)                                                                                          \
	"{\"rule\": {\"chain\": \"input\", \"expr\": [{\"match\": {\"op\": \"==\", \"left\": {\"payload\": "           \
	"{\"protocol\": \"" protocol "\", \"field\": \"dport\"}}, \"right\": " right "}}, {\"accept\": null}]}}"
#define RULES(...) "{\"nftables\": [" __VA_ARGS__ "]}"

static void test_checkup_firewall(void)
{
	CU_ASSERT(checkup_lets_in(RULES(""), true, 69));
	CU_ASSERT(checkup_lets_in(RULES(OPEN_CHAIN), true, 69));
	CU_ASSERT(checkup_lets_in(RULES(OUTPUT_CHAIN), true, 69));
	CU_ASSERT_FALSE(checkup_lets_in(RULES(CLOSED_CHAIN), true, 69));
	CU_ASSERT(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("udp", "69")), true, 69));
	CU_ASSERT_FALSE(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("tcp", "69")), true, 69));
	CU_ASSERT_FALSE(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("udp", "69")), false, 69));
	CU_ASSERT(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("th", "{\"set\": [67, 69]}")), true, 69));
	CU_ASSERT(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("tcp", "{\"range\": [3000, 4000]}")), false, 3260));
	CU_ASSERT_FALSE(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("tcp", "{\"range\": [3000, 4000]}")), false, 8001));
	CU_ASSERT(checkup_lets_in(RULES(CLOSED_CHAIN "," RULE("tcp", "{\"set\": [22, {\"range\": [8000, 8010]}]}")),
				  false, 8001));
}

static void test_checkup_firewall_other_words(void)
{
	CU_ASSERT(checkup_lets_in("", true, 69));
	CU_ASSERT(checkup_lets_in("no json", true, 69));
	CU_ASSERT(checkup_lets_in("{\"nftables\": 7}", true, 69));
	CU_ASSERT(checkup_lets_in("[]", true, 69));
	CU_ASSERT_FALSE(
		checkup_lets_in(RULES(CLOSED_CHAIN ", 7, {\"rule\": {\"expr\": [1, {\"match\": 2}]}}"), true, 69));
}

static bool tells(const char *line, const char *todo_has)
{
	const char *todo = "", *means = checkup_kernel_line(line, &todo);

	return means && strstr(todo, todo_has);
}

static void test_checkup_kernel_lines(void)
{
	const char *todo;

	CU_ASSERT(tells("blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ)", "smartctl"));
	CU_ASSERT(tells("EXT4-fs error (device sdb1): ext4_find_entry:1455: inode #2", "fsck"));
	CU_ASSERT(tells("XFS (sdb1): Corruption of in-memory data detected. Shutting down filesystem", "xfs_repair"));
	CU_ASSERT(tells("Out of memory: Killed process 812 (tcmu-runner) total-vm:1kB", "[cache]"));
	CU_ASSERT(tells("e1000e 0000:00:19.0 enp0s25: NIC Link is Down", "cable"));
	CU_ASSERT(tells("INFO: task jbd2/sdb1-8:311 blocked for more than 120 seconds.", "does not answer"));
	CU_ASSERT_PTR_NULL(checkup_kernel_line("XFS (sdb1): Mounting V5 Filesystem", &todo));
	CU_ASSERT_PTR_NULL(checkup_kernel_line("e1000e: enp0s25 NIC Link is Up 1000 Mbps Full Duplex", &todo));
	CU_ASSERT_PTR_NULL(checkup_kernel_line("", &todo));
}

UNIT_MAIN(UNIT(test_checkup_firewall), UNIT(test_checkup_firewall_other_words), UNIT(test_checkup_kernel_lines))
