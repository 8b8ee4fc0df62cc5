/* SPDX-License-Identifier: MIT
 * mp/test_second_look.c: who lets the role go looks at the lanes once more (R16). The moment is made, not hoped for: the holder's last
 * sync before it lets go is where somebody else submits, who sees the role held and goes to sleep. Without the second look nobody
 * serves him. (It looks inside, as test_rules.c does: its own fdatasync is put into the table of system calls.) */
#include "mp/mp.h"
#include "os/os.h"

static struct rst_os table;
static roost_root *author;
static roost_batch *batch;
static uint32_t armed;

static int sync_and_submit(int file)
{
    if (__atomic_exchange_n(&armed, 0, __ATOMIC_ACQ_REL))
        GIVES(0, roost_submit(author, batch, NULL, NULL, NULL)); /* tidy-allow: a flag of the test */
    return rst_os_linux.fdatasync(file);
}

static void a_submission_while_the_role_is_let_go_is_served(void)
{
    table = rst_os_linux;
    table.fdatasync = sync_and_submit;
    rst_os = &table;
    roost_root *holder = mp_open();
    author = mp_open();
    GIVES(0, roost_batch_open(&batch));
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = ROOST_PROCESS;
    memory.text = roost_text("at level process, so that letting go has something to sync");
    GIVES(0, roost_batch_append(batch, &memory));
    GIVES(0, roost_append(holder, &memory, NULL, NULL, NULL)); /* an epoch's first frame is synced at once */
    for (uint64_t round = 1; round <= 20; round++) {
        GIVES(0, roost_append(holder, &memory, &write, NULL, NULL));
        __atomic_store_n(&armed, 1, __ATOMIC_RELEASE); /* tidy-allow: a flag of the test */
        int64_t deadline = mp_now_ns() + 3000 * INT64_C(1000000);
        while (mp_stats(holder).memory_count <= round * 2 && mp_now_ns() < deadline) poll(NULL, 0, 1);
        CHECK(mp_stats(holder).memory_count == round * 2 + 1); /* the author has not asked since */
        struct roost_completion landed = ROOST_COMPLETION_INIT;
        CHECK(roost_poll(author, &landed, 1, MP_PATIENCE_MS) == 1 && landed.result == 0);
        GIVES(0, roost_rest(holder));
        deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
        while (mp_stats(holder).writer_pid && mp_now_ns() < deadline) poll(NULL, 0, 1);
    }
    roost_batch_free(batch);
    mp_close(author);
    mp_close(holder);
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"a_submission_while_the_role_is_let_go_is_served", a_submission_while_the_role_is_let_go_is_served}};
    return mp_main(argc, argv, cases, 1);
}
