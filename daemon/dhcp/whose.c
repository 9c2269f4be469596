// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose a lease is that was written down, by the rules of lease.h and daemon/config/identity.h. */
#include "daemon/dhcp/whose.h"

#include <string.h>

#include "daemon/config/identity.h"

struct lease_client whose_record(const struct state_lease *from)
{
	static const uint8_t none[6];
	struct lease_client client = {0};
	char key[IDENTITY_KEY_MAX];

	client.has_mac = memcmp(from->mac, none, sizeof(none)) != 0;
	memcpy(client.mac, from->mac, sizeof(client.mac));
	client.id_length = from->id_length > LEASE_ID_MAX ? LEASE_ID_MAX : from->id_length;
	memcpy(client.id, from->id, client.id_length);
	client.keyed = identity_of_lease_id(client.id, client.id_length, key);
	return client;
}

bool whose_is_his(const struct lease *lease, const struct state_lease *from)
{
	struct lease_client client = whose_record(from);

	return lease_client_equal(&lease->client, &client);
}

bool whose_is_his_card(const struct lease *lease, const struct state_lease *from)
{
	struct lease_client client = whose_record(from);

	return lease_client_equal(&lease->client, &client) && lease_client_same_card(&lease->client, &client);
}
