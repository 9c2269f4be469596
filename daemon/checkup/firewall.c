// SPDX-License-Identifier: GPL-2.0-or-later
/* Does a firewall let PCs in? nftables' own program prints all rules as JSON (libnftables-json(5)). */
#include "daemon/checkup/checkup.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOUT       "firewall"
#define RULESET_MAX (8u << 20) /* bytes that are read */

/* Is `port` what the right side of a match names: a number, a range, a set of these? */
static bool names_port(const json_t *right, uint16_t port)
{
	const json_t *range = json_object_get(right, "range"), *set = json_object_get(right, "set"), *one;
	size_t i;

	if (json_is_integer(right))
		return json_integer_value(right) == port;
	if (json_array_size(range) == 2)
		return json_integer_value(json_array_get(range, 0)) <= port &&
		       port <= json_integer_value(json_array_get(range, 1));
	json_array_foreach(set, i, one)
	{
		if (names_port(one, port))
			return true;
	}
	return false;
}

static bool rule_names(const json_t *rule, const char *protocol, uint16_t port)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(rule, "expr"), i, one)
	{
		const json_t *match = json_object_get(one, "match");
		const json_t *payload = json_object_get(json_object_get(match, "left"), "payload");
		const char *of = json_string_value(json_object_get(payload, "protocol"));
		const char *field = json_string_value(json_object_get(payload, "field"));

		if (of && field && (!strcmp(of, protocol) || !strcmp(of, "th")) && !strcmp(field, "dport") &&
		    names_port(json_object_get(match, "right"), port))
			return true;
	}
	return false;
}

/* A base chain through which what comes in must go, and which drops what no rule takes. */
static bool is_closed(const json_t *chain)
{
	const char *hook = json_string_value(json_object_get(chain, "hook"));
	const char *policy = json_string_value(json_object_get(chain, "policy"));

	return hook && policy && !strcmp(hook, "input") && !strcmp(policy, "drop");
}

bool checkup_lets_in(const char *ruleset, bool udp, uint16_t port)
{
	json_t *root = json_loads(ruleset, 0, NULL), *one;
	bool closed = false, named = false;
	size_t i;

	json_array_foreach(json_object_get(root, "nftables"), i, one)
	{
		closed |= is_closed(json_object_get(one, "chain"));
		named |= rule_names(json_object_get(one, "rule"), udp ? "udp" : "tcp", port);
	}
	json_decref(root);
	return named || !closed;
}

/* What `nft -j list ruleset` prints, to be freed; NULL: there is no nft, or it may not look. */
static char *read_ruleset(void)
{
	char *ret = malloc(RULESET_MAX + 1);
	size_t length = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	if (!ret || pipe2(fds, O_CLOEXEC) < 0) {
		free(ret);
		return NULL;
	}
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(fds[1], STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		alarm(5); /* s; it ends by it when the kernel does not answer */
		execl("/usr/sbin/nft", "nft", "-j", "list", "ruleset", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while (length < RULESET_MAX &&
	       ((n = read(fds[0], ret + length, RULESET_MAX - length)) > 0 || (n < 0 && errno == EINTR)))
		length += n > 0 ? (size_t)n : 0;
	close(fds[0]);
	ret[length] = '\0';
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status))
		return ret;
	free(ret);
	return NULL;
}

void checkup_firewall(struct checkup *checkup)
{
	const struct config *c = checkup->config;
	const struct {
		bool wanted, udp;
		uint16_t port;
	} all[] = {
		{c->dhcp_mode != CONFIG_DHCP_OFF, true, c->dhcp_port},
		{c->tftp, true, c->tftp_port},
		{true, false, c->http_port},
		{true, false, c->upload_port},
		{c->targets, false, c->iscsi_port},
	};
	char *ruleset = read_ruleset(), shut[200] = "";
	size_t length = 0;

	if (!ruleset) {
		if (!access("/usr/sbin/nft", X_OK))
			checkup_say(checkup, CHECKUP_WARN, ABOUT, "ask again as root",
				    "the rules of the firewall cannot be read");
		else
			checkup_say(checkup, CHECKUP_OK, ABOUT, "", "there is no nftables on this machine");
		return;
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].wanted && length < sizeof(shut) && !checkup_lets_in(ruleset, all[i].udp, all[i].port))
			length += (size_t)snprintf(shut + length, sizeof(shut) - length, "%s%s %u", length ? ", " : "",
						   all[i].udp ? "UDP" : "TCP", all[i].port);
	if (length)
		checkup_say(
			checkup, CHECKUP_WARN, ABOUT,
			"let them in on the PCs' interface; replies of TFTP come from other ports, the answers to them "
			"must get in, too (see \"nft list ruleset\")",
			"the firewall drops what no rule names, and none names %s", shut);
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "no firewall here drops what PCs ask");
	free(ruleset);
}
