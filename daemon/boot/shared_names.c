// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One PC, one name on both servers of a pair. Each tells the other the names that it has; who is right is decided alike
 * on both, without a clock: the name that a person chose more times, then the primary's. A name that another PC has
 * here goes to the PC that is meant by the same rule, and the other one gets an automatic one. Names of [client]
 * sections are no matter: those are compared with the configuration.
 */
#include <string.h>
#include <strings.h>

#include "daemon/boot/private.h"
#include "daemon/boot/promised.h"
#include "daemon/config/value.h"
#include "daemon/core/log.h"

#define NAMED_MAX 1000000000u /* what nobody has done so many times */

bool boot_shared_name_at(const struct boot *boot, size_t n, struct boot_shared_name *ret)
{
	const struct boot_client *client = boot_clients_at(boot->clients, n);

	if (!client)
		return false;
	memcpy(ret->key, client->rec.key, sizeof(ret->key));
	memcpy(ret->name, client->rec.name, sizeof(ret->name));
	ret->named = client->rec.named;
	if (boot_section(boot, client))
		ret->name[0] = '\0';
	return true;
}

static bool is_key(const char *key)
{
	size_t n = strlen(key);

	return n && strspn(key, "0123456789abcdefghijklmnopqrstuvwxyz-") == n;
}

static bool wins(const struct boot_shared_name *told, const struct boot_client *ours, bool primary)
{
	return told->named != ours->rec.named ? told->named > ours->rec.named : primary;
}

/* The PC that has the name here becomes another one. */
static int yield(struct boot *boot, const struct boot_client *holder)
{
	struct state_client rec = holder->rec;
	int r;

	rec.named = 0;
	r = boot_clients_new_name(boot->clients, boot->config->client_name_pattern, rec.address, boot->promised,
				  rec.name);
	return r ? r : boot_clients_put(boot->clients, &rec, NULL);
}

void boot_shared_name_heard(struct boot *boot, const struct boot_shared_name *told, bool primary)
{
	struct boot_client *client = boot_clients_by_key(boot->clients, told->key), *holder;
	struct state_client rec;
	char checked[CONFIG_HOST_MAX], before[sizeof(rec.name)];

	if (!is_key(told->key) || value_host(told->name, checked) || told->named > NAMED_MAX ||
	    identity_section_of(boot->config, told->key, client ? client->rec.name : NULL) ||
	    config_client_named(boot->config, told->name))
		return;
	promised_put(boot->promised, told->key, told->name, told->named);
	if (!client || (!strcasecmp(client->rec.name, told->name) && told->named <= client->rec.named) ||
	    !wins(told, client, primary))
		return;
	holder = boot_clients_by_name(boot->clients, told->name);
	if (holder && holder != client && (!wins(told, holder, primary) || yield(boot, holder)))
		return;
	rec = client->rec;
	memcpy(before, rec.name, sizeof(before));
	memcpy(rec.name, told->name, sizeof(rec.name));
	rec.named = told->named;
	if (!boot_clients_put(boot->clients, &rec, NULL) && strcmp(before, told->name) != 0)
		log_limited(20, LOG_LEVEL_NOTICE, "client %s is %s now, as on the other server of the pair", before,
			    told->name);
}

bool boot_shared_name_of(struct boot *boot, struct state_client *rec)
{
	const struct promised_name *p = promised_to(boot->promised, rec->key);

	if (!p || boot_clients_by_name(boot->clients, p->name) || config_client_named(boot->config, p->name))
		return false;
	memcpy(rec->name, p->name, sizeof(rec->name));
	rec->named = p->named;
	return true;
}
