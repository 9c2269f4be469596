// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tiers. Every interface gets the tc program. XDP is put before it where the driver runs XDP
 * itself, no other XDP program is there, and a frame as small as an ACK has room behind it for a
 * block: a probe program stays on the interface until it has seen such a frame (the DHCP or TFTP
 * request is one), and is then replaced, or taken away.
 *
 * All attachments end with the process. XDP and, from Linux 6.6 on, tc are attached by BPF links,
 * which their descriptor holds. Before that a tc filter stays whatever happens to its maker: so the
 * filter is a stub that jumps through a table which the kernel empties when its last descriptor is
 * closed (bpf/tftp_tc.bpf.c). The next start replaces such a stub.
 */
#include "daemon/tftp/fastpath_links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/tftp_shared.h"

#define TCX_INGRESS                                                                                                    \
	46 /* BPF_TCX_INGRESS of Linux 6.6, newer than the headers that we build with                                  \
	    */

/* Ours among the filters of an interface, by which a stub that a crash left is found again. */
#define FILTER_HANDLE   1
#define FILTER_PRIORITY 0xb007

void tftp_links_init(struct tftp_links *links, enum tftp_fastpath_mode mode, const struct tftp_programs *programs)
{
	*links = (struct tftp_links){.mode = mode, .programs = *programs};
}

struct tftp_fastpath_link *tftp_links_find(const struct tftp_links *links, int ifindex)
{
	for (int i = 0; i < TFTP_LINKS_MAX; i++)
		if (ifindex > 0 && links->link[i].ifindex == ifindex)
			return (struct tftp_fastpath_link *)&links->link[i];
	return NULL;
}

/* Fills in address, MTU and the driver's name. */
static int link_describe(struct tftp_fastpath_link *link, char driver[32])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {0};
	int fd, r = 0;

	if (!if_indextoname((unsigned int)link->ifindex, request.ifr_name))
		return -ENODEV;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFHWADDR, &request)) {
		r = -errno;
		goto out;
	}
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER && request.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK) {
		r = -ENOTSUP;
		goto out;
	}
	memcpy(link->mac, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &request)) {
		r = -errno;
		goto out;
	}
	link->mtu = (uint32_t)request.ifr_mtu;
	request.ifr_data = (void *)&info;
	strcpy(driver, ioctl(fd, SIOCETHTOOL, &request) ? "" : info.driver);
out:
	close(fd);
	return r;
}

/* A filter that ends with the process only through its table: for kernels without tcx. */
static int attach_filter(struct tftp_links *links, struct tftp_fastpath_link *link)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link->ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = links->programs.tc_stub, .flags = BPF_TC_F_REPLACE);
	uint32_t zero = 0;
	int r;

	r = bpf_map_update_elem(links->programs.jump_map, &zero, &links->programs.tc, BPF_ANY);
	if (r < 0)
		return r;
	r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return r;
	r = bpf_tc_attach(&hook, &opts);
	if (r < 0)
		return r;
	link->filter = true;
	return 0;
}

static void detach_filter(struct tftp_fastpath_link *link)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link->ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);

	if (link->filter)
		bpf_tc_detach(&hook, &opts);
	link->filter = false;
}

static int attach_tc(struct tftp_links *links, struct tftp_fastpath_link *link)
{
	link->tcx_fd = bpf_link_create(links->programs.tc, link->ifindex, (enum bpf_attach_type)TCX_INGRESS, NULL);
	if (link->tcx_fd >= 0)
		return 0;
	if (link->tcx_fd == -EPERM)
		return -EPERM;
	link->tcx_fd = -1;
	return attach_filter(links, link);
}

/* Sets the tier and the reason for it. */
static void attach_xdp(struct tftp_links *links, struct tftp_fastpath_link *link, const char *driver)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	uint32_t id = 0, ifindex = (uint32_t)link->ifindex, unknown = TFTP_PROBE_UNKNOWN;
	bool probe = links->mode == TFTP_FASTPATH_AUTO;

	if (links->mode == TFTP_FASTPATH_TC) {
		link->why = "the configuration says tc";
		return;
	}
	if (links->programs.xdp < 0) {
		link->why = "the kernel refuses the XDP program";
		return;
	}
	if (!bpf_xdp_query_id(link->ifindex, 0, &id) && id) {
		link->why = "another XDP program is on the interface";
		return;
	}
	if (probe && !strcmp(driver, "veth")) {
		/* XDP_TX on veth is lost in silence unless the other end polls. */
		link->why = "veth loses what XDP sends unless its peer polls";
		return;
	}
	if (probe && bpf_map_update_elem(links->programs.probes_map, &ifindex, &unknown, BPF_ANY)) {
		link->why = "the probe's table is full";
		return;
	}
	link->xdp_fd =
		bpf_link_create(probe ? links->programs.probe : links->programs.xdp, link->ifindex, BPF_XDP, &opts);
	if (link->xdp_fd < 0) {
		link->why = link->xdp_fd == -EBUSY ? "another XDP program is on the interface"
						   : "its driver does not run XDP (or not with this MTU)";
		link->xdp_fd = -1;
		return;
	}
	link->probing = probe;
	link->tier = probe ? TFTP_FASTPATH_TIER_TC : TFTP_FASTPATH_TIER_XDP;
	link->why = probe ? "the probe for XDP has seen no small frame yet" : "the configuration says XDP";
}

static void drop_xdp(struct tftp_links *links, struct tftp_fastpath_link *link)
{
	uint32_t ifindex = (uint32_t)link->ifindex;

	if (link->probing)
		bpf_map_delete_elem(links->programs.probes_map, &ifindex);
	link->probing = false;
	if (link->xdp_fd >= 0)
		close(link->xdp_fd);
	link->xdp_fd = -1;
}

static void link_detach(struct tftp_links *links, struct tftp_fastpath_link *link)
{
	drop_xdp(links, link);
	if (link->tcx_fd >= 0)
		close(link->tcx_fd);
	detach_filter(link);
	*link = (struct tftp_fastpath_link){0};
}

void tftp_links_tick(struct tftp_links *links)
{
	for (int i = 0; i < TFTP_LINKS_MAX; i++) {
		struct tftp_fastpath_link *link = &links->link[i];
		char name[IF_NAMESIZE];

		if (!link->ifindex)
			continue;
		if (if_indextoname((unsigned int)link->ifindex, name))
			tftp_links_settle(links, link);
		else if (errno == ENXIO)
			link_detach(links, link); /* unplugged */
	}
}

void tftp_links_settle(struct tftp_links *links, struct tftp_fastpath_link *link)
{
	uint32_t ifindex = (uint32_t)link->ifindex, found;

	if (!link->probing || bpf_map_lookup_elem(links->programs.probes_map, &ifindex, &found) ||
	    found == TFTP_PROBE_UNKNOWN)
		return;
	if (found == TFTP_PROBE_ROOM && !bpf_link_update(link->xdp_fd, links->programs.xdp, NULL)) {
		link->tier = TFTP_FASTPATH_TIER_XDP;
		link->why = "received frames have room to grow";
		link->probing = false;
		bpf_map_delete_elem(links->programs.probes_map, &ifindex);
		return;
	}
	drop_xdp(links, link);
	link->why = "received frames have no room to grow";
}

int tftp_links_attach(struct tftp_links *links, int ifindex)
{
	struct tftp_fastpath_link *link = tftp_links_find(links, ifindex);
	char driver[32] = "";
	int r;

	if (link)
		return link_describe(link, driver);
	for (int i = 0; i < TFTP_LINKS_MAX && !link; i++)
		if (!links->link[i].ifindex)
			link = &links->link[i];
	if (!link)
		return -ENOSPC;
	*link = (struct tftp_fastpath_link){
		.ifindex = ifindex, .tier = TFTP_FASTPATH_TIER_TC, .xdp_fd = -1, .tcx_fd = -1};
	r = link_describe(link, driver);
	if (r == 0)
		r = attach_tc(links, link);
	if (r < 0) {
		*link = (struct tftp_fastpath_link){0};
		return r;
	}
	attach_xdp(links, link, driver);
	return 0;
}

void tftp_links_detach(struct tftp_links *links, int ifindex)
{
	struct tftp_fastpath_link *link = tftp_links_find(links, ifindex);

	if (link)
		link_detach(links, link);
}

void tftp_links_done(struct tftp_links *links)
{
	for (int i = 0; i < TFTP_LINKS_MAX; i++)
		if (links->link[i].ifindex)
			link_detach(links, &links->link[i]);
}
