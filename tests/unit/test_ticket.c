/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secrets of capture scripts: for one PC, for one image, once; kept over a restart, and nowhere in clear. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/boot/ticket.h"
#include "tests/unit/unit.h"

static char folder[64], file[96];

static struct boot_tickets *open_tickets(void)
{
	struct boot_tickets *t = NULL;

	CU_ASSERT_EQUAL_FATAL(boot_tickets_new(&t, folder), 0);
	return t;
}

static struct boot_tickets *begin(void)
{
	snprintf(folder, sizeof(folder), "/tmp/bootwell-ticket.%d", getpid());
	snprintf(file, sizeof(file), "%s/upload-tickets", folder);
	mkdir(folder, 0700);
	unlink(file);
	return open_tickets();
}

static void end(struct boot_tickets *t)
{
	boot_tickets_unref(t);
	unlink(file);
	rmdir(folder);
}

static bool good(struct boot_tickets *t, const char *secret)
{
	struct boot_ticket ticket;

	return boot_ticket_check(t, secret, &ticket) == 0;
}

static void test_ticket_is_whose_it_is(void)
{
	struct boot_tickets *t = begin();
	char a[BOOT_TICKET_MAX], b[BOOT_TICKET_MAX], c[BOOT_TICKET_MAX];
	struct boot_ticket ticket;

	CU_ASSERT_EQUAL(boot_ticket_make(t, 1, "PC1", "xp01", a), 0);
	CU_ASSERT_EQUAL(boot_ticket_make(t, 2, "PC2", "", b), 0);
	CU_ASSERT_EQUAL(strlen(a), 32);
	CU_ASSERT_EQUAL(boot_ticket_check(t, a, &ticket), 0);
	CU_ASSERT_EQUAL(ticket.client, 1);
	CU_ASSERT_STRING_EQUAL(ticket.name, "PC1");
	CU_ASSERT_STRING_EQUAL(ticket.image, "xp01");
	for (unsigned int i = 0; i < 32; i++) { /* each digit counts */
		memcpy(c, a, sizeof(c));
		c[i] = c[i] == '0' ? '1' : '0';
		CU_ASSERT_FALSE(good(t, c));
	}
	CU_ASSERT_FALSE(good(t, ""));
	memcpy(c, a, sizeof(c));
	c[31] = '\0';
	CU_ASSERT_FALSE(good(t, c));
	CU_ASSERT_EQUAL(boot_ticket_make(t, 1, "PC1", "xp01", c), 0); /* its next boot */
	CU_ASSERT_FALSE(good(t, a));
	CU_ASSERT(good(t, b) && good(t, c));
	CU_ASSERT(boot_ticket_end(t, 1));
	CU_ASSERT_FALSE(boot_ticket_end(t, 1));
	CU_ASSERT(!good(t, c) && good(t, b));
	end(t);
}

static void test_ticket_is_for_one_image(void)
{
	struct boot_tickets *t = begin();
	char named[BOOT_TICKET_MAX], open[BOOT_TICKET_MAX];

	boot_ticket_make(t, 1, "PC1", "xp01", named);
	boot_ticket_make(t, 2, "PC2", "", open);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, named, "xp02"), -EACCES);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, named, "xp01"), 0);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, named, "xp01"), 0);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, open, "win7"), 1); /* the first that it is used for */
	CU_ASSERT_EQUAL(boot_ticket_claim(t, open, "xp01"), -EACCES);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, open, "win7"), 0);
	boot_ticket_unclaim(t, open); /* the upload was refused: there was such an image */
	CU_ASSERT_EQUAL(boot_ticket_claim(t, open, "win8"), 1);
	end(t);
}

static void test_ticket_is_used_once(void)
{
	struct boot_tickets *t = begin();
	char a[BOOT_TICKET_MAX], b[BOOT_TICKET_MAX];
	struct boot_ticket ticket;

	boot_ticket_make(t, 1, "PC1", "xp01", a);
	boot_ticket_make(t, 2, "PC2", "xp01", b);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, a, "xp01"), 0);
	boot_ticket_spend(t, "PC1", "xp01");
	CU_ASSERT_EQUAL(boot_ticket_check(t, a, &ticket), 0);
	CU_ASSERT(ticket.spent);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, a, "xp01"), -EACCES);
	boot_ticket_unclaim(t, a);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, a, "xp02"), -EACCES);
	CU_ASSERT_EQUAL(boot_ticket_claim(t, b, "xp01"), 0); /* another PC's is its own */
	boot_ticket_end_upload(t, "PC2", "xp01");
	CU_ASSERT_FALSE(good(t, b));
	end(t);
}

static void test_ticket_outlives_a_restart(void)
{
	struct boot_tickets *t = begin();
	char a[BOOT_TICKET_MAX], b[BOOT_TICKET_MAX], c[BOOT_TICKET_MAX], text[1024] = "";
	struct boot_ticket ticket;
	struct stat st;
	FILE *f;

	boot_ticket_make(t, 1, "PC1", "xp01", a);
	boot_ticket_make(t, 2, "PC2", "", b);
	boot_ticket_make(t, 3, "PC3", "xp03", c);
	boot_ticket_spend(t, "PC3", "xp03");
	CU_ASSERT_EQUAL(boot_tickets_save(t), 0);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	f = fopen(file, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	CU_ASSERT(!strstr(text, a) && !strstr(text, b) && !strstr(text, c));
	boot_tickets_unref(t);

	f = fopen(file, "a"); /* what is no ticket is none */
	fputs("0123 1 99999999999 0 PC9 xp09\nrubbish\n", f);
	fclose(f);
	t = open_tickets();
	CU_ASSERT_EQUAL(boot_ticket_check(t, a, &ticket), 0);
	CU_ASSERT(!ticket.spent && ticket.client == 1);
	CU_ASSERT_STRING_EQUAL(ticket.image, "xp01");
	CU_ASSERT_EQUAL(boot_ticket_check(t, b, &ticket), 0);
	CU_ASSERT_STRING_EQUAL(ticket.image, "");
	CU_ASSERT_EQUAL(boot_ticket_check(t, c, &ticket), 0);
	CU_ASSERT(ticket.spent);
	end(t);
}

/* A line of the file that ended: no right comes of it, however far away its end is written. */
static void test_ticket_ends_with_its_time(void)
{
	struct boot_tickets *t = begin();
	char a[BOOT_TICKET_MAX], hash[65] = "";
	FILE *f;

	boot_ticket_make(t, 1, "PC1", "xp01", a);
	CU_ASSERT_EQUAL(boot_ticket_silence(t, 1), UINT64_MAX);
	CU_ASSERT(good(t, a));
	CU_ASSERT(boot_ticket_silence(t, 1) < BOOT_TICKET_LIFE);
	CU_ASSERT_EQUAL(boot_tickets_save(t), 0);
	boot_tickets_unref(t);
	f = fopen(file, "r+");
	CU_ASSERT_EQUAL_FATAL(fread(hash, 1, 64, f), 64);
	rewind(f);
	fprintf(f, "%s 1 %lld 0 PC1 xp01\n", hash, (long long)time(NULL) - 1);
	fclose(f);
	t = open_tickets();
	CU_ASSERT_FALSE(good(t, a));
	end(t);
}

UNIT_MAIN(UNIT(test_ticket_is_whose_it_is), UNIT(test_ticket_is_for_one_image), UNIT(test_ticket_is_used_once),
	  UNIT(test_ticket_outlives_a_restart), UNIT(test_ticket_ends_with_its_time))
