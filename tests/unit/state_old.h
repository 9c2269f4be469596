/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A state as version 4 of its schema had it (before PCs had keys), with three PCs, their leases, a boot and an update
 * session; the statements are those of that version.
 */
#ifndef BOOTWELL_TEST_STATE_OLD_H
#define BOOTWELL_TEST_STATE_OLD_H

static const char state_old[] =
	"CREATE TABLE lease ("
	" address INTEGER PRIMARY KEY, state INTEGER NOT NULL, mac BLOB NOT NULL, id BLOB NOT NULL,"
	" expires INTEGER NOT NULL, updated INTEGER NOT NULL);"
	"CREATE TABLE client ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, mac BLOB NOT NULL UNIQUE, uuid BLOB,"
	" name TEXT NOT NULL UNIQUE COLLATE NOCASE, named INTEGER NOT NULL, \"group\" TEXT NOT NULL,"
	" image TEXT NOT NULL, keep INTEGER NOT NULL, upload INTEGER NOT NULL, arch INTEGER NOT NULL,"
	" nbp TEXT NOT NULL, nbp_failed INTEGER NOT NULL, address INTEGER NOT NULL, first_seen INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL, last_boot INTEGER NOT NULL, overlay TEXT NOT NULL, reset TEXT NOT NULL);"
	"CREATE INDEX client_address ON client (address);"
	"CREATE TABLE image ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, generation INTEGER NOT NULL, file TEXT NOT NULL,"
	" format TEXT NOT NULL, image_id TEXT NOT NULL, parent_id TEXT NOT NULL, virtual_size INTEGER NOT NULL,"
	" file_size INTEGER NOT NULL, size_override INTEGER NOT NULL, added INTEGER NOT NULL,"
	" current INTEGER NOT NULL, UNIQUE (name, generation));"
	"CREATE INDEX image_image_id ON image (image_id);"
	"CREATE TABLE boot ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, client INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,"
	" image TEXT NOT NULL, generation INTEGER NOT NULL, dhcp_ns INTEGER NOT NULL, tftp_ns INTEGER NOT NULL,"
	" ipxe_ns INTEGER NOT NULL, script_ns INTEGER NOT NULL, ready_ns INTEGER NOT NULL, login_ns INTEGER NOT NULL,"
	" first_read_ns INTEGER NOT NULL, failure TEXT NOT NULL);"
	"CREATE INDEX boot_client ON boot (client, id);"
	"CREATE TABLE session ("
	" image TEXT PRIMARY KEY, client INTEGER NOT NULL UNIQUE REFERENCES client (id) ON DELETE CASCADE,"
	" generation INTEGER NOT NULL, overlay TEXT NOT NULL, reset TEXT NOT NULL, started INTEGER NOT NULL);"
	"ALTER TABLE image ADD COLUMN checked INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN check_failed INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN settled_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_gaps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_longest_ns INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 4;"
	/* ANNA, known by uuid (bytes a1 and a last a2); PC102, by nothing; PORT7, by a circuit. */
	"INSERT INTO client VALUES (7, x'020000000065', x'a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a2', 'ANNA', 0, '', '', -1,"
	" -1, 0, '', 0, 2130706533, 1700000000, 1700000000, 1700000000,"
	" '5f9d3c1e-0000-4000-8000-00000000000a', '');"
	"INSERT INTO client VALUES (8, x'020000000066', NULL, 'PC102', 0, '', '', 1, -1, 0, '', 0, 2130706534,"
	" 1700000000, 1700000000, 1700000000, '5f9d3c1e-0000-4000-8000-00000000000b', '');"
	"INSERT INTO client VALUES (9, x'020000000067', NULL, 'PORT7', 0, '', '', -1, -1, 0, '', 0, 2130706535,"
	" 1700000000, 1700000000, 1700000000, '5f9d3c1e-0000-4000-8000-00000000000c', '');"
	"INSERT INTO lease VALUES (2130706533, 1, x'020000000065', x'ff01', 9000000000, 1700000000);"
	"INSERT INTO lease VALUES (2130706534, 1, x'020000000066', x'', 9000000000, 1700000000);"
	"INSERT INTO boot VALUES (1, 7, 'one', 1, 1, 2, 3, 4, 5, 6, 7, '', 0, 0, 0, 0);"
	"INSERT INTO session VALUES ('two', 8, 1, '5f9d3c1e-0000-8000-8000-00000000000b', 'r', 1);";

#endif
