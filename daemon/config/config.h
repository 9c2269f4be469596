/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration file, docs/bootwell.conf.5.scd: parsed and checked whole, then never changed.
 * Every mistake is reported with file and line. Addresses are in host byte order here; everything
 * else is as named.
 */
#ifndef BOOTWELL_CONFIG_H
#define BOOTWELL_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/access.h"

#include "daemon/config/appliance.h"
#include "daemon/config/identity.h"

#define CONFIG_NAME_MAX  64 /* bytes with NUL: names of images, groups, subnets */
#define CONFIG_HOST_MAX  16 /* a PC's name: 15 characters (NetBIOS), RFC 1123 letters, digits, hyphen */
#define CONFIG_TOKEN_MIN 10 /* characters of an operator's token */
#define CONFIG_ADDRESSES 8
#define CONFIG_RANGES    16
#define CONFIG_OPTIONS   32
#define CONFIG_IMAGES    8 /* images that one client may choose from */
#define CONFIG_DISKS     4 /* that a client has besides the one that it starts from: LUN 1 to 4 */

enum config_dhcp_mode { CONFIG_DHCP_OFF, CONFIG_DHCP_FULL, CONFIG_DHCP_PROXY };

struct config_addresses {
	uint32_t address[CONFIG_ADDRESSES];
	unsigned int count;
};

struct config_range {
	uint32_t first, last; /* inclusive */
};

/* Any DHCP option by number: `option.150 = 192.168.1.10`, `option.252 = "http://…"`, `option.43 =
 * hex:0601…` */
struct config_option {
	uint8_t code;
	uint8_t length;
	uint8_t data[255];
};

struct config_options {
	struct config_option option[CONFIG_OPTIONS];
	unsigned int count;
};

/* [subnet NAME]; a plain [dhcp] with range= makes one named "lan". */
struct config_subnet {
	char name[CONFIG_NAME_MAX];
	unsigned int line;        /* where it begins in the file, for messages */
	char interface[IFNAMSIZ]; /* "": only reached through a relay */
	uint32_t network;
	uint8_t prefix;
	uint32_t server;      /* our address in it, 0: the interface's first address in the network */
	uint32_t next_server; /* siaddr and option 66 for who does not say PXE (U-Boot); 0: none */
	struct config_range range[CONFIG_RANGES];
	unsigned int ranges;
	struct config_range exclude[CONFIG_RANGES];
	unsigned int excludes;
	unsigned int range_line, exclude_line; /* 0: not given */
	struct config_addresses router, dns, ntp;
	char domain[256];
	uint32_t lease_time; /* s */
	struct config_options options;
};

enum config_tristate { CONFIG_UNSET = -1, CONFIG_NO = 0, CONFIG_YES = 1 };

enum config_disk_mode {
	CONFIG_DISK_READ_ONLY,
	CONFIG_DISK_OWN, /* what the PC writes is gone at its next boot */
	CONFIG_DISK_KEEP,
};

/* One of `disks = NAME [MODE], ...` */
struct config_disk {
	char image[CONFIG_NAME_MAX];
	enum config_disk_mode mode;
};

/* What a [group] or [client] says about a PC; unset fields come from the group, then from [group
 * default]. */
struct config_profile {
	char image[CONFIG_IMAGES][CONFIG_NAME_MAX]; /* the first is the default */
	unsigned int images;
	struct config_disk disk[CONFIG_DISKS];
	unsigned int disks;
	bool disks_given;                   /* `disks = none` is given, too */
	enum config_tristate keep;          /* keep write-back over reboots */
	enum config_tristate upload;        /* may upload an image */
	enum config_tristate computer_name; /* its Windows starts under the PC's name */
	enum config_tristate ibft_gateway;  /* the iBFT names the gateway although the server is a neighbour */
	char capture[CONFIG_NAME_MAX];      /* "xp01.vmdk": what its disk is captured as, "" asks at the PC */
	char capture_disk[32];              /* "sda"; "" asks when there are several */
	char nbp_bios[128];                 /* "" unset: undionly.kpxe */
	char nbp_uefi[128];                 /* "" unset: snponly.efi, ipxe.efi after a failed hand-off */
	/* The same for UEFI of other CPUs than x64. */
	char nbp_ia32[128], nbp_arm32[128], nbp_arm64[128], nbp_riscv64[128], nbp_loongarch64[128];
	struct config_options options;
};

struct config_group {
	char name[CONFIG_NAME_MAX];
	unsigned int line;
	struct config_profile profile;
};

struct config_client {
	char name[CONFIG_HOST_MAX];
	unsigned int line;
	bool has_mac, has_uuid;
	uint8_t mac[6];
	uint8_t uuid[16];            /* as on the wire in option 97 */
	char circuit[128];           /* option 82 sub-option 1, "" none */
	char key[IDENTITY_KEY_MAX];  /* what of these decides, "": its name */
	uint32_t address;            /* reservation, 0 none */
	char group[CONFIG_NAME_MAX]; /* "" = default */
	struct config_profile profile;
};

/* [image NAME] */
struct config_image {
	char name[CONFIG_NAME_MAX];
	unsigned int line;
	char file[256];                              /* beneath images_path */
	char format[16];                             /* "" = by image_probe() when it is first added to the catalogue */
	uint64_t size_override;                      /* bytes, 0 none */
	enum config_tristate upload_becomes_current; /* CONFIG_UNSET: as [images] says */
};

enum config_smtp_tls { CONFIG_SMTP_TLS_REQUIRED, CONFIG_SMTP_TLS_OFF };

/* [alert]: whom trouble is told to, and when. */
struct config_alert {
	unsigned int line;             /* of its first key; 0: there is none */
	char mail[512];                /* addresses, commas between; "" no mail */
	char mail_from[128];           /* "" before the check: bootwell@HOST */
	char smtp[256];                /* smtp://HOST:PORT or smtps:// */
	enum config_smtp_tls smtp_tls; /* of smtp://: STARTTLS */
	char smtp_user[128];           /* "" no login */
	char smtp_password_file[256];  /* first line; not readable for others */
	char webhook[512];             /* http:// or https://, may hold a secret; "" none */
	char command[256];             /* "" none */
	char ca_file[256];             /* PEM, for mail and webhook; "" the system's */
	int level;                     /* 0 warning, 1 critical: less is not told */
	uint32_t repeat;               /* s until an incident that lasts is told again; 0 never */
	uint32_t end_after;            /* s that it is away until it is over */
};

struct config {
	char file[4096]; /* where it was read from */

	/* [server] */
	char server_name[CONFIG_NAME_MAX];
	bool targets;         /* targets = off: DHCP and TFTP only */
	char state_path[256]; /* folder of bootwell.db; default /var/lib/bootwell */
	char run_path[256];   /* default /run/bootwell */
	char user[64];        /* to run as once the ports are bound; "" = stay */
	int log_level;

	/* [dhcp] */
	enum config_dhcp_mode dhcp_mode; /* CONFIG_DHCP_OFF when there is no [dhcp] section: never uninvited */
	uint16_t dhcp_port;              /* 67; 66 with backup = yes */
	uint32_t dhcp_peer;              /* address of the other one of a pair, 0 none */
	bool dhcp_backup;
	bool dhcp_split; /* each of a pair gives new addresses from its own half of the ranges only */
	unsigned int dhcp_split_line;
	bool dhcp_probe;          /* ARP or ICMP before an address is offered */
	uint32_t handoff_timeout; /* s without a script request after an NBP: take the other NBP
				     next time */
	struct config_subnet *subnet;
	size_t subnets;

	/* [tftp] */
	bool tftp;
	uint16_t tftp_port; /* 69 */
	char tftp_root[256];
	uint16_t tftp_blksize_max; /* bytes */
	uint16_t tftp_windowsize_max;
	char tftp_fastpath[16];        /* "auto", "xdp", "tc", "off" */
	uint64_t tftp_fastpath_memory; /* bytes */
	uint32_t tftp_sessions_max;

	/* [http] */
	uint16_t http_port;   /* 8001 */
	uint16_t upload_port; /* 1000 */
	char token[160];      /* of an operator without a name, who may everything; itself or its hash, "" none */
	int open_metrics;     /* 1: whoever reaches the port may read /metrics */
	int open_status;      /* 1: whoever reaches the port may look, the page included */
	char http_names[256]; /* host names that the port may be asked by, commas between, besides addresses */
	char tls_certificate[256], tls_key[256]; /* files, PEM; "" no TLS */
	struct access_operator *operator;        /* [operator NAME] */
	size_t operators;

	/* [iscsi] */
	uint16_t iscsi_port;  /* 3260 */
	char iqn_prefix[128]; /* iqn.2026-01.org.bootwell */

	/* [images] [write-back] [cache] */
	char images_path[256];
	uint32_t keep_generations;   /* of an image after a commit; older ones that nobody uses go; 0: all stay */
	bool upload_becomes_current; /* new boots get the generation that an upload made */
	char store_path[256];        /* a file */
	uint64_t store_size;         /* bytes */
	uint64_t image_ram;          /* bytes */
	uint64_t write_back_ram;     /* bytes */
	unsigned int engine_threads;

	bool register_clients;        /* unknown PCs become client records at their first lease; default
					 yes */
	bool script_nonce;            /* a script is asked for by a name that is new at each boot; default yes */
	bool ask_name;                /* ask for the PC's name at its first boot; default yes */
	char client_name_pattern[32]; /* "PC%03u" */

	struct config_alert alert; /* [alert] */

	struct config_group *group; /* [group default] always exists, at index 0 */
	size_t groups;
	struct config_client *client;
	size_t clients;
	struct config_image *image;
	size_t images;

	/* [appliance] [network NAME]: bootwelld only checks them */
	struct config_appliance appliance;
	struct config_network *network;
	size_t networks;
};

/*
 * Reads and checks FILE. Each mistake is reported as one sentence with `line` (0: the file as a
 * whole) and the reading goes on, so that a person gets all of them at once. Returns 0 and *ret, or
 * -EINVAL (mistakes were reported), or another -errno (reported too).
 */
typedef void (*config_report_fn)(void *arg, const char *file, unsigned int line, const char *message);
int config_read(struct config **ret, const char *file, config_report_fn report, void *arg);
void config_free(struct config *config);

/*
 * The same, when images may also be in the catalogue: `image(arg, config, name)` says whether the
 * catalogue has it. NULL: only what the file names.
 */
struct config_known {
	bool (*image)(void *arg, const struct config *config, const char *name);
	void *arg;
	bool planned;   /* the addresses of [network NAME] are not on the interfaces yet */
	bool elsewhere; /* only its paths are wanted: the interfaces are another machine's, or of other times */
};
int config_read_known(struct config **ret, const char *file, const struct config_known *known, config_report_fn report,
		      void *arg);

/*
 * What the lines say that have no mistake, defaults for the rest; nothing is reported, the whole is not checked, and no
 * other file is looked at. For who needs a path or two whatever else stands there, and may not wait for a file system.
 * 0, or -errno when the file itself cannot be read.
 */
int config_read_leniently(struct config **ret, const char *file);

const struct config_image *config_image_find(const struct config *config, const char *name);
const struct config_group *config_group_find(const struct config *config, const char *name);
/* The section of that name, compared without regard to case. */
const struct config_client *config_client_named(const struct config *config, const char *name);
const struct config_subnet *config_subnet_for_address(const struct config *config, uint32_t address);

#endif
