/* Makes fdatasync and fsync fail like a broken disk while the file that FAIL_SYNCS_WHILE names exists. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_or_fail(long call, int file) {
    const char *marker = getenv("FAIL_SYNCS_WHILE");
    if (marker && access(marker, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, file);
}

int fdatasync(int file) { return sync_or_fail(SYS_fdatasync, file); }
int fsync(int file) { return sync_or_fail(SYS_fsync, file); }
