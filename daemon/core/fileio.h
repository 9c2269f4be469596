/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole reads and writes at a place of a file: what pread() and pwrite() do in parts is carried on. They block. */
#ifndef BOOTWELL_FILEIO_H
#define BOOTWELL_FILEIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* `length` bytes at byte `offset`. 0 or -errno; -EIO also when the file ends before. */
int fileio_read(int fd, void *to, size_t length, uint64_t offset);
/* As many as there are up to the end of the file: 0..length, or -errno. */
ssize_t fileio_read_some(int fd, void *to, size_t length, uint64_t offset);
/* 0, or -errno, with the file written up to anywhere. */
int fileio_write(int fd, const void *from, size_t length, uint64_t offset);

#endif
