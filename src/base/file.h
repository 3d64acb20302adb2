/* Whole files in and out. */
#ifndef TT_BASE_FILE_H
#define TT_BASE_FILE_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends the whole file to `out`; fails beyond out->limit_bytes, for directories, and on read
 * errors. */
tt_status tt_file_read(const char *path, tt_buf *out, tt_err *err);

/* Writes bytes to a temporary name beside `path`, syncs it and renames it: `path` is either the old
 * file or the whole new one, also when the disk is full. A path that is not a regular file
 * (/dev/full, a pipe) is written to in place; a symbolic link to a file is replaced. Permissions
 * 0644 less the umask. */
tt_status tt_file_write(const char *path, const void *bytes, size_t size, tt_err *err);

/* fsync(2). True as well, with nothing done, on a file system that knows no such call: what it has is all there is to have. */
bool tt_file_sync(int fd);
bool tt_file_sync_data(int fd); /* fdatasync(2), in the same way */

bool tt_file_is_directory(const char *path);
bool tt_file_exists(const char *path);

/* "<directory>/<name>" into out (size bytes); fails when it does not fit. */
tt_status tt_path_join(char *out, size_t size, const char *directory, const char *name,
                       tt_err *err);

#endif
