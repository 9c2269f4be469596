// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The texts of the scripts, line by line. A name or a sentence that comes from elsewhere goes through echo(), which
 * leaves nothing that iPXE would take as its own.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/boot/ipxe_script.h"
#include "daemon/core/inet.h"

#define TRIES         4
#define TRY_PAUSE     3  /* s */
#define WAIT_PAUSE    2  /* s */
#define NAME_TIMEOUT  15 /* s */
#define RETRY_TIMEOUT 30 /* s */
#define LEAVE_TIMEOUT 10 /* s */

struct script {
	char *text;
	size_t size, length;
	bool full;
};

static void add(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct script *s, const char *format, ...)
{
	va_list args;
	int n;

	if (s->full)
		return;
	va_start(args, format);
	n = vsnprintf(s->text + s->length, s->size - s->length, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= s->size - s->length)
		s->full = true;
	else
		s->length += n;
}

static int finish(const struct script *s)
{
	return s->full ? -ENOSPC : (int)s->length;
}

/* One line on the PC's screen, in pieces that fit its 80 columns. */
static void echo(struct script *s, const char *text)
{
	size_t column = 0;

	add(s, "echo");
	while (*text) {
		size_t word = strcspn(text, " \t\n");

		if (column && column + word > 76) {
			add(s, "\necho  ");
			column = 1;
		}
		add(s, " ");
		for (size_t i = 0; i < word; i++)
			add(s, "%c", isprint((unsigned char)text[i]) && !strchr("$|&;#{}\\", text[i]) ? text[i] : '?');
		column += word + 1;
		text += word;
		text += strspn(text, " \t\n");
	}
	add(s, "\n");
}

static void add_address(struct script *s, uint32_t a)
{
	add(s, "%s", inet_text(a).s);
}

/* http://SERVER:PORT/boot/NONCE/FILE */
static void add_url(struct script *s, uint32_t server, uint16_t port, const char *nonce, const char *file)
{
	add(s, "http://");
	add_address(s, server);
	add(s, ":%u/%s%s%s%s", port, *nonce ? "boot/" : "", nonce, *nonce ? "/" : "", file);
}

/* Who asks, in a URL. */
static void add_who(struct script *s, const char *pc)
{
	add(s, "?mac=${netX/mac}%s%s", pc && *pc ? "&pc=" : "", pc ? pc : "");
}

static void ask_name(struct script *s, const struct ipxe_script_disk *d)
{
	add(s,
	    "prompt --timeout %u Press any key within %u s to give this PC a name (now %s) || goto "
	    "start\n",
	    NAME_TIMEOUT * 1000, NAME_TIMEOUT, d->client);
	add(s,
	    ":name\n"
	    "echo\n"
	    "echo Name of this PC, 1 to 15 letters, digits or hyphens. Empty: it stays %s\n"
	    "echo -n Name:\n"
	    "clear newname ||\n"
	    "read newname || goto start\n"
	    "isset ${newname} || goto start\n",
	    d->client);
	add(s, "chain --autofree ");
	add_url(s, d->server, d->http_port, d->nonce, "name.ipxe");
	add_who(s, d->pc);
	add(s, "&name=${newname:uristring} || goto name\n");
	add(s, ":start\n");
}

int ipxe_script_boot(char *ret, size_t size, const struct ipxe_script_disk *d)
{
	struct script s = {.text = ret, .size = size};
	char port[8] = "";

	if (d->iscsi_port != 3260)
		snprintf(port, sizeof(port), "%u", d->iscsi_port);
	add(&s,
	    "#!ipxe\n"
	    "set initiator-iqn %s\n"
	    "set username %s\n"
	    "set password %s\n"
	    "set keep-san 1\n"
	    "echo\n"
	    "echo bootwell: %s starts %s, generation %u, from ",
	    d->initiator, d->user, d->secret, d->client, d->image, d->generation);
	add_address(&s, d->server);
	add(&s, "\n");
	if (d->ask_name)
		ask_name(&s, d);
	/* Windows sends all of its iSCSI through the gateway that the iBFT names, also to a neighbour. */
	if (d->clear_gateway)
		add(&s, "set netX/gateway 0.0.0.0\n");
	add(&s, "set tries:int32 0\n"
		":try\n"
		"sanboot iscsi:");
	add_address(&s, d->server);
	add(&s, "::%s:0:%s ||\n", port, d->iqn);
	/* With keep-san the drive of a failed try is still hooked. */
	add(&s,
	    "sanunhook --drive 0x80 ||\n"
	    "inc tries\n"
	    "iseq ${tries} %u && goto failed ||\n"
	    "echo bootwell: the disk did not start (try ${tries} of %u), again in %u s\n"
	    "sleep %u\n"
	    "goto try\n"
	    ":failed\n"
	    "echo\n",
	    TRIES, TRIES, TRY_PAUSE, TRY_PAUSE);
	add(&s, "echo bootwell: %s could not start its disk from ", d->client);
	add_address(&s, d->server);
	add(&s, ".\n");
	echo(&s, "Either the server did not answer on its iSCSI port, or the image has no boot "
		 "loader for this "
		 "firmware. On the server, \"bootwell status\" tells which.");
	add(&s,
	    "prompt --timeout %u Press any key to start again (by itself in %u s) ||\n"
	    "reboot || exit\n",
	    RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	return finish(&s);
}

int ipxe_script_menu(char *ret, size_t size, const char *client, const struct ipxe_script_where *where,
		     const char *const *images, unsigned int count, unsigned int seconds)
{
	struct script s = {.text = ret, .size = size};

	add(&s,
	    "#!ipxe\n"
	    "menu bootwell: what shall %s start?\n",
	    client);
	for (unsigned int i = 0; i < count; i++)
		add(&s, "item %s %s\n", images[i], images[i]);
	add(&s, "choose --default %s --timeout %u image || set image %s\n", images[0], seconds * 1000, images[0]);
	add(&s, "chain --replace --autofree ");
	add_url(&s, where->server, where->port, where->nonce, "boot.ipxe");
	add_who(&s, where->pc);
	add(&s, "&image=${image} ||\n");
	add(&s,
	    "echo bootwell: the server did not answer on port %u\n"
	    "prompt --timeout %u Press any key to start again (by itself in %u s) ||\n"
	    "reboot || exit\n",
	    where->port, RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	return finish(&s);
}

int ipxe_script_wait(char *ret, size_t size, const char *client, const char *address,
		     const struct ipxe_script_where *where)
{
	struct script s = {.text = ret, .size = size};
	char text[160];

	snprintf(text, sizeof(text),
		 "bootwell: %s was at work a moment ago%s%s; waiting until its former session is known to have ended",
		 client, *address ? ", from " : "", address);
	add(&s, "#!ipxe\n");
	echo(&s, text);
	add(&s, "sleep %u\nchain --replace --autofree ", WAIT_PAUSE);
	if (where->tftp) {
		add(&s, "tftp://");
		add_address(&s, where->server);
		if (where->port != 69)
			add(&s, ":%u", where->port);
		add(&s, "/%s%s%sboot.ipxe", *where->nonce ? "boot/" : "", where->nonce, *where->nonce ? "/" : "");
	} else {
		add_url(&s, where->server, where->port, where->nonce, "boot.ipxe");
		add_who(&s, where->pc);
		add(&s, "%s%s", *where->image ? "&image=" : "", where->image);
	}
	add(&s, " ||\n");
	echo(&s, "bootwell: the server did not answer");
	add(&s, "prompt --timeout %u Press any key to start again (by itself in %u s) ||\nreboot || exit\n",
	    RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	return finish(&s);
}

int ipxe_script_redirect(char *ret, size_t size)
{
	struct script s = {.text = ret, .size = size};

	add(&s, "#!ipxe\n"
		"isset ${filename} || goto none\n"
		"chain --replace --autofree ${filename} ||\n"
		":none\n"
		"echo\n");
	echo(&s,
	     "bootwell: a boot script is asked for by the name that DHCP gives to iPXE, which is another one at each "
	     "boot. Use dhcp and then chain ${filename}, or set [clients] script-nonce = no on the server.");
	add(&s, "prompt --timeout %u Press any key to start again (by itself in %u s) ||\nreboot || exit\n",
	    RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	return finish(&s);
}

int ipxe_script_message(char *ret, size_t size, const char *client, const char *message, bool retry)
{
	struct script s = {.text = ret, .size = size};

	add(&s,
	    "#!ipxe\n"
	    "echo\n"
	    "echo bootwell: %s gets no disk:\n",
	    client);
	echo(&s, message);
	if (retry)
		add(&s,
		    "prompt --timeout %u Press any key to start again (by itself in %u s) ||\n"
		    "reboot || exit\n",
		    RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	else
		add(&s,
		    "prompt --timeout %u Press any key to go on with the next boot device (by "
		    "itself in %u s) ||\n"
		    "exit\n",
		    LEAVE_TIMEOUT * 1000, LEAVE_TIMEOUT);
	return finish(&s);
}

int ipxe_script_named(char *ret, size_t size, const char *name, const char *wrong)
{
	struct script s = {.text = ret, .size = size};

	add(&s, "#!ipxe\n");
	if (!wrong) {
		add(&s, "echo This PC is %s now.\n", name);
		return finish(&s);
	}
	echo(&s, wrong);
	add(&s, "isset ${bootwell-name-taken}\n"); /* never set: the script ends with a failure */
	return finish(&s);
}

int ipxe_script_capture(char *ret, size_t size, const struct ipxe_script_capture *c)
{
	struct script s = {.text = ret, .size = size};

	add(&s, "#!ipxe\necho\necho bootwell: %s starts the capture system from ", c->client);
	add_address(&s, c->server);
	add(&s, "\nset base http://");
	add_address(&s, c->server);
	add(&s, ":%u/capture\n", c->http_port);
	/* initrd= is what a UEFI kernel looks for. */
	add(&s, "kernel ${base}/vmlinuz initrd=initrd.img console=ttyS0 console=tty0 loglevel=4 panic=10 net.ifnames=0 "
		"bootwell.server=");
	add_address(&s, c->server);
	add(&s, ":%u bootwell.secret=%s%s%s", c->upload_port, c->secret, *c->pin ? " bootwell.pin=" : "", c->pin);
	add(&s, "%s%s%s%s || goto failed\n", *c->name ? " bootwell.name=" : "", c->name,
	    *c->disk ? " bootwell.disk=" : "", c->disk);
	add(&s, "initrd ${base}/initrd.img || goto failed\n"
		"boot || goto failed\n"
		":failed\n");
	echo(&s, "The capture system could not be loaded. On the server, \"bootwell-capture-system\" makes it.");
	add(&s, "prompt --timeout %u Press any key to start again (by itself in %u s) ||\nreboot\n",
	    RETRY_TIMEOUT * 1000, RETRY_TIMEOUT);
	return finish(&s);
}
