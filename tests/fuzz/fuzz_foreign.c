// SPDX-License-Identifier: GPL-2.0-or-later
/* The looks at VHDX and qcow2 headers before qemu-img is started. */
#include "daemon/image/convert.h"
#include "tests/fuzz/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const formats[] = {"qcow2", "vhdx"};

	fuzz_file(0, data, size);
	for (int i = 0; i < 2; i++) {
		struct sentence err = {0};

		if (convert_foreign_check(fuzz_fds[0], formats[i], "a", &err) < 0)
			fuzz_must(strncmp(err.text, "a: ", 3) == 0);
	}
	return 0;
}
