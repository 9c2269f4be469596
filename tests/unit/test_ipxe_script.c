/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scripts for iPXE: what they do, and that no text from elsewhere becomes a command. */
#include <errno.h>

#include "daemon/boot/ipxe_script.h"
#include "tests/unit/unit.h"

#define NONCE "00000000abcd0123456789abcdef0123"

static char text[IPXE_SCRIPT_MAX];

static struct ipxe_script_disk example(void)
{
	return (struct ipxe_script_disk){
		.client = "PC101",
		.image = "xp01",
		.generation = 2,
		.server = 0xc0a8010a,
		.iscsi_port = 3260,
		.http_port = 8001,
		.iqn = "iqn.2026-01.org.bootwell:disk-525400123456",
		.initiator = "iqn.2026-01.org.bootwell:pc-525400123456",
		.user = "pc-525400123456",
		.secret = "0123456789abcdef",
		.nonce = NONCE,
	};
}

/* Whether a line of the script is exactly this. */
static int has_line(const char *line)
{
	size_t n = strlen(line);

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, line, n) && (at[n] == '\n' || !at[n]))
			return 1;
	return 0;
}

static void test_ipxe_script_boot(void)
{
	struct ipxe_script_disk d = example();
	int n = ipxe_script_boot(text, sizeof(text), &d);

	CU_ASSERT_EQUAL(n, (int)strlen(text));
	CU_ASSERT_EQUAL(strncmp(text, "#!ipxe\n", 7), 0);
	CU_ASSERT(has_line("set initiator-iqn iqn.2026-01.org.bootwell:pc-525400123456"));
	CU_ASSERT(has_line("set username pc-525400123456"));
	CU_ASSERT(has_line("set password 0123456789abcdef"));
	CU_ASSERT(has_line("set keep-san 1"));
	CU_ASSERT(has_line("sanboot iscsi:192.168.1.10:::0:iqn.2026-01.org.bootwell:disk-525400123456 ||"));
	CU_ASSERT(has_line("goto try"));
	CU_ASSERT(has_line(":failed"));
	CU_ASSERT_PTR_NULL(strstr(text, "newname"));
	/* The screen tells who and what; never the secret. */
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "echo bootwell: PC101 starts xp01, generation 2, from 192.168.1.10\n"));
	for (char *at = strstr(text, "echo"); at; at = strstr(at + 1, "echo"))
		CU_ASSERT(!strstr(at, "0123456789abcdef"));
}

static void test_ipxe_script_other_port(void)
{
	struct ipxe_script_disk d = example();

	d.iscsi_port = 3270;
	CU_ASSERT(ipxe_script_boot(text, sizeof(text), &d) > 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "sanboot iscsi:192.168.1.10::3270:0:iqn."));
}

static void test_ipxe_script_asks_name(void)
{
	struct ipxe_script_disk d = example();

	d.ask_name = true;
	CU_ASSERT(ipxe_script_boot(text, sizeof(text), &d) > 0);
	CU_ASSERT(has_line("read newname || goto start"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "prompt --timeout")); /* nobody there: it starts by itself */
	CU_ASSERT(has_line("chain --autofree "
			   "http://192.168.1.10:8001/boot/" NONCE "/name.ipxe?mac=${netX/mac}&name=${newname:uristring}"
			   " || goto name"));
	CU_ASSERT(strstr(text, ":start\n") < strstr(text, "sanboot"));
}

static void test_ipxe_script_menu(void)
{
	struct ipxe_script_where where = {.server = 0xc0a8010a, .port = 8001, .nonce = NONCE};
	const char *const images[] = {"win10", "xp01"};

	CU_ASSERT(ipxe_script_menu(text, sizeof(text), "PC101", &where, images, 2, 10) > 0);
	CU_ASSERT(has_line("item win10 win10"));
	CU_ASSERT(has_line("item xp01 xp01"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "choose --default win10 --timeout 10000 image"));
	CU_ASSERT_PTR_NOT_NULL(
		strstr(text, "http://192.168.1.10:8001/boot/" NONCE "/boot.ipxe?mac=${netX/mac}&image=${image}"));
	/* A PC that is known by more than its MAC says who it is. */
	strcpy(where.pc, "ANNA");
	CU_ASSERT(ipxe_script_menu(text, sizeof(text), "ANNA", &where, images, 2, 10) > 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "/boot.ipxe?mac=${netX/mac}&pc=ANNA&image=${image}"));
}

static void test_ipxe_script_wait(void)
{
	struct ipxe_script_where where = {.server = 0xc0a8010a, .port = 8001, .nonce = NONCE, .image = "xp01"};

	CU_ASSERT(ipxe_script_wait(text, sizeof(text), "PC101", "192.168.1.101", &where) > 0);
	CU_ASSERT(has_line("sleep 2"));
	CU_ASSERT(has_line("chain --replace --autofree http://192.168.1.10:8001/boot/" NONCE
			   "/boot.ipxe?mac=${netX/mac}&image=xp01 ||"));
	where = (struct ipxe_script_where){.server = 0xc0a8010a, .port = 69, .tftp = true, .nonce = NONCE};
	CU_ASSERT(ipxe_script_wait(text, sizeof(text), "PC101", "", &where) > 0);
	CU_ASSERT(has_line("chain --replace --autofree tftp://192.168.1.10/boot/" NONCE "/boot.ipxe ||"));
}

/* Commands of iPXE that a message could hide: separators, comments, settings. */
static void test_ipxe_script_message_is_only_text(void)
{
	CU_ASSERT(ipxe_script_message(text, sizeof(text), "PC101",
				      "bad ${password} || reboot && sanboot x ; exit # "
				      "y\nshell\r\n:label \x1b[2J",
				      true) > 0);
	CU_ASSERT_PTR_NULL(strstr(text, "${"));
	CU_ASSERT_PTR_NULL(strchr(text, '\x1b'));
	CU_ASSERT_PTR_NULL(strstr(text, "&&"));
	CU_ASSERT_PTR_NULL(strchr(text, ';'));
	CU_ASSERT_PTR_NULL(strstr(text, "\nshell"));
	CU_ASSERT_PTR_NULL(strstr(text, "\n:label"));
	/* Only the script's own lines have an `||`. */
	for (char *at = strstr(text, "||"); at; at = strstr(at + 2, "||")) {
		char *line = at;

		while (line > text && line[-1] != '\n')
			line--;
		CU_ASSERT(!strncmp(line, "prompt", 6) || !strncmp(line, "reboot", 6));
	}
	CU_ASSERT(has_line("reboot || exit"));
}

static void test_ipxe_script_message_folds_lines(void)
{
	char message[600];

	memset(message, 0, sizeof(message));
	for (int i = 0; i < 50; i++)
		strcat(message, "words and ");
	CU_ASSERT(ipxe_script_message(text, sizeof(text), "PC101", message, false) > 0);
	for (char *at = text; *at; at += strcspn(at, "\n") + 1)
		CU_ASSERT(strncmp(at, "echo", 4) || strcspn(at, "\n") <= 85);
	CU_ASSERT(has_line("exit"));
	CU_ASSERT_PTR_NULL(strstr(text, "reboot"));
}

static void test_ipxe_script_named(void)
{
	CU_ASSERT(ipxe_script_named(text, sizeof(text), "Desk-12", NULL) > 0);
	CU_ASSERT(has_line("echo This PC is Desk-12 now."));
	CU_ASSERT(ipxe_script_named(text, sizeof(text), "", "\"${x}\" is not right") > 0);
	CU_ASSERT_PTR_NULL(strstr(text, "\"${x"));
	/* The last command fails, so that the caller asks again. */
	CU_ASSERT(has_line("isset ${bootwell-name-taken}"));
}

static void test_ipxe_script_too_small(void)
{
	struct ipxe_script_disk d = example();
	int whole = ipxe_script_boot(text, sizeof(text), &d);

	for (int size = 1; size <= whole; size++)
		CU_ASSERT_EQUAL(ipxe_script_boot(text, size, &d), -ENOSPC);
	CU_ASSERT_EQUAL(ipxe_script_boot(text, whole + 1, &d), whole);
}

/* The longest of everything fits. */
static void test_ipxe_script_longest(void)
{
	struct ipxe_script_disk d = example();
	char iqn[224], image[64];
	const char *images[8];

	memset(iqn, 'q', sizeof(iqn));
	iqn[223] = '\0';
	memset(image, 'i', sizeof(image));
	image[63] = '\0';
	d.iqn = d.initiator = iqn;
	d.image = image;
	d.client = "ABCDEFGHIJKLMNO";
	d.ask_name = true;
	CU_ASSERT(ipxe_script_boot(text, sizeof(text), &d) > 0);
	for (int i = 0; i < 8; i++)
		images[i] = image;
	CU_ASSERT(ipxe_script_menu(text, sizeof(text), d.client,
				   &(struct ipxe_script_where){
					   .server = ~0u, .port = 65535, .nonce = NONCE, .pc = "ABCDEFGHIJKLMNO"},
				   images, 8, 10) > 0);
}

UNIT_MAIN(UNIT(test_ipxe_script_boot), UNIT(test_ipxe_script_other_port), UNIT(test_ipxe_script_asks_name),
	  UNIT(test_ipxe_script_menu), UNIT(test_ipxe_script_wait), UNIT(test_ipxe_script_message_is_only_text),
	  UNIT(test_ipxe_script_message_folds_lines), UNIT(test_ipxe_script_named), UNIT(test_ipxe_script_too_small),
	  UNIT(test_ipxe_script_longest))
