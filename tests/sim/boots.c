/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCs that boot: with the nonce of its DHCP answer a PC asks the server that gave it (daemon/boot/boot.h) for its
 * script, is told to wait, why not, or which disk; then it logs in, and runs until it is reset or switched off. In
 * place of HTTP and TFTP the question is an event at the server, and the answer one at the PC.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/boot.h"
#include "daemon/target/target.h"

struct question {
	struct sim_server *server;
	unsigned int pc;
	uint64_t turn; /* of its boots */
	uint32_t address;
	char nonce[64];
};

struct script {
	unsigned int pc, server;
	uint64_t turn;
	char iqn[TARGET_NAME_MAX], secret[64];
	bool again; /* it is to wait, or was refused */
};

/* The word behind `what` in a text. */
static void word(char *ret, size_t size, const char *text, const char *what)
{
	const char *p = strstr(text, what);
	size_t n;

	*ret = '\0';
	if (!p)
		return;
	p += strlen(what);
	n = strcspn(p, " \n");
	if (n < size) {
		memcpy(ret, p, n);
		ret[n] = '\0';
	}
}

static void at_pc(void *arg, void *data)
{
	const struct script *s = data;

	(void)arg;
	if (s->turn == sim_pcs[s->pc].boots)
		sim_pc_script(s->pc, &sim_servers[s->server], s->again ? NULL : s->iqn, s->secret);
}

static void on_script(void *arg, const char *text, uint32_t length)
{
	struct question *q = arg;
	struct script s = {.pc = q->pc, .server = q->server->n, .turn = q->turn}, *copy;

	(void)length;
	word(s.secret, sizeof(s.secret), text, "set password ");
	word(s.iqn, sizeof(s.iqn), text, ":0:");
	s.again = !s.iqn[0];
	copy = malloc(sizeof(s));
	if (!copy)
		abort();
	*copy = s;
	if (q->server->dead)
		free(copy);
	else
		sim_at(sim_now + sim_between(MS, 20 * MS), at_pc, NULL, copy);
	free(q);
}

static void ask(void *arg)
{
	struct question *q = arg;
	const struct boot_ask about = {.address = q->address, .server = SIM_NET + q->server->n + 1, .nonce = q->nonce};

	boot_script(q->server->boot, &about, on_script, q);
}

static void at_server(void *arg, void *data)
{
	struct question *q;
	struct sim_server *server = arg;

	if (!server->up || server->dead)
		return;
	q = malloc(sizeof(*q));
	if (!q)
		abort();
	memcpy(q, data, sizeof(*q));
	if (sim_is_stalled(server))
		sim_at(server->stalled_until, at_server, server, q);
	else
		sim_loop_call(server, ask, q);
}

void sim_boot_ask(unsigned int pc, const char *file)
{
	unsigned int n = sim_pcs[pc].server - SIM_NET - 1;
	struct question *q = calloc(1, sizeof(*q));

	if (!q || n >= SIM_SERVERS)
		abort();
	*q = (struct question){
		.server = &sim_servers[n], .pc = pc, .turn = sim_pcs[pc].boots, .address = sim_pcs[pc].address};
	if (sscanf(file, "boot/%60[^/]/", q->nonce) != 1)
		q->nonce[0] = '\0';
	sim_at(sim_now + sim_between(5 * MS, 200 * MS), at_server, q->server, q);
}

/* --- what a server knows ------------------------------------------------------------------------------------------ */
struct looking {
	const char *iqn;
	bool found;
};

static void look(void *arg, const struct boot_view *view)
{
	struct looking *l = arg;

	/* One that could not be removed is the PC's still, although its boot has failed. */
	l->found |= !strcmp(strstr(l->iqn, ":disk-") + strlen(":disk-"), view->client->key);
}

bool sim_boot_knows(struct sim_server *server, const char *iqn)
{
	struct looking l = {.iqn = iqn};

	sim_server = server;
	boot_each(server->boot, look, &l);
	sim_server = NULL;
	return l.found;
}
