/* SPDX-License-Identifier: MIT
 * os/linux_fs.c: which file system is this, and does it keep Roost's promises? (layer 1)
 *
 * The promises: flock and byte locks that exclude every process that can open the file; one page cache, so that mappings
 * and pwrite agree; fdatasync that reaches the disk. Network and host-sharing file systems break one or the other without
 * an error (reliability.md 2.1), so the list names what is allowed and everything else is refused, by name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/check.h"
#include "os/linux.h"

/* Numbers from statfs(2) and <linux/magic.h>; not all of them are in the headers of older systems. */
struct known_kind {
    uint32_t magic;
    bool allowed;
    const char *name;
};
enum { MAGIC_FUSE = 0x65735546 };

static const struct known_kind known_kinds[] = {
    {0x0000ef53, true, "ext"},       {0x58465342, true, "xfs"},      {0x9123683e, true, "btrfs"},
    {0x01021994, true, "tmpfs"},     {0x858458f6, true, "ramfs"},    {0x794c7630, true, "overlay"},
    {0x2fc12fc1, true, "zfs"},       {0xf2f52010, true, "f2fs"},     {0xca451a4e, true, "bcachefs"},
    {0x00006969, false, "nfs"},      {0xff534d42, false, "cifs"},    {0x0000517b, false, "smb"},
    {0xfe534d42, false, "smb2"},     {0x01021997, false, "9p"},      {MAGIC_FUSE, false, "fuse"},
    {0x00c36400, false, "ceph"},     {0x5346414f, false, "afs"},     {0x6b414653, false, "afs"},
    {0x01161970, false, "gfs2"},     {0x7461636f, false, "ocfs2"},   {0x73757245, false, "coda"},
    {0x0bd00bd0, false, "lustre"},   {0x47504653, false, "gpfs"},    {0x19830326, false, "beegfs"},
    {0x20030528, false, "orangefs"}, {0xaad7aaea, false, "panfs"},   {0x786f4256, false, "vboxsf"},
    {0xbacbacbc, false, "vmhgfs"},   {0x7c7c6673, false, "prl_fs"},  {0x00004d44, false, "vfat"},
    {0x2011bab0, false, "exfat"},    {0x5346544e, false, "ntfs"},    {0x7366746e, false, "ntfs3"},
    {0x0000f15f, false, "ecryptfs"}, {0x61756673, false, "aufs"},    {0x73717368, false, "squashfs"},
    {0xe0f5e1e2, false, "erofs"},    {0x00009660, false, "iso9660"}, {0x958458f6, false, "hugetlbfs"},
    {0x00009fa0, false, "proc"},     {0x62656572, false, "sysfs"},
};

/* Splits the next space-separated field off *at; NULL at the end of the line. The line is not changed. */
static const char *next_field(const char **at, size_t *ret_size)
{
    const char *start = *at + strspn(*at, " \n");
    *ret_size = strcspn(start, " \n");
    *at = start + *ret_size;
    return *ret_size ? start : NULL;
}

/* "36 35 98:0 /root /mount/point options [optional ...] - type source super-options", proc_pid_mountinfo(5) */
bool rst_linux_mount_type(const char *line, unsigned device_major, unsigned device_minor, char *ret_name, size_t name_size)
{
    enum { DEVICE = 2, FIXED_COUNT = 6 }; /* the third field; six come before the optional ones */
    char device[24];
    const char *at = line, *field;
    size_t size;
    snprintf(device, sizeof device, "%u:%u", device_major, device_minor);
    for (int i = 0; i < FIXED_COUNT; i++) { /* a mount point's spaces are written \040, so fields stay fields */
        field = next_field(&at, &size);
        if (!field) return false;
        if (i == DEVICE && (size != strlen(device) || memcmp(field, device, size) != 0)) return false;
    }
    do {
        field = next_field(&at, &size);
        if (!field) return false;
    } while (size != 1 || *field != '-');
    field = next_field(&at, &size);
    if (!field) return false;
    snprintf(ret_name, name_size, "%.*s", (int)size, field);
    return true;
}

/* statfs calls every FUSE file system, virtiofs too, just FUSE; the mount table knows which it is. */
static void name_fuse(int file, char *ret_name, size_t name_size)
{
    snprintf(ret_name, name_size, "fuse");
    struct stat status;
    if (fstat(file, &status) != 0) return;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts) return;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, mounts) > 0)
        if (rst_linux_mount_type(line, major(status.st_dev), minor(status.st_dev), ret_name, name_size)) break;
    free(line);
    fclose(mounts);
}

int rst_linux_file_system(int file, char *ret_name, size_t name_size)
{
    struct statfs status;
    if (fstatfs(file, &status) != 0) return -errno;
    /* f_type is signed and of another width on some machines; all magic numbers fit in 32 bits. */
    uint32_t magic = (uint32_t)status.f_type;
    if (magic == (uint32_t)MAGIC_FUSE) {
        name_fuse(file, ret_name, name_size);
        return 0;
    }
    for (size_t i = 0; i < RST_COUNT_OF(known_kinds); i++)
        if (known_kinds[i].magic == magic) {
            snprintf(ret_name, name_size, "%s", known_kinds[i].allowed ? "" : known_kinds[i].name);
            return 0;
        }
    snprintf(ret_name, name_size, "unknown (0x%x)", magic);
    return 0;
}
