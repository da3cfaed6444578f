/* Counts the instructions that a program executes in QEMU's user mode, and prints the sum on the standard error whenever
 * the program writes to its standard output. A plugin of QEMU; `scripts/check-aarch64` builds and uses it.
 *
 * Debian has no package with qemu-plugin.h, so what is used of it is declared here. It is the same in all versions that
 * know plugins, except for the number of the interface, which the build defines: PLUGIN_VERSION. */
#include <inttypes.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { NO_REGISTERS = 0 };

typedef void on_block_made(plugin_id, struct qemu_plugin_tb *);
typedef void on_block_run(unsigned int vcpu, void *data);
typedef void on_system_call(plugin_id, unsigned int vcpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                            uint64_t, uint64_t, uint64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_block_made *);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_block_run *, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_system_call *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_VERSION;

/* Number of `write` on aarch64. */
enum { WRITE = 64 };

static uint64_t sum;

static void count(unsigned int vcpu, void *data)
{
    (void)vcpu;
    __atomic_fetch_add(&sum, (uint64_t)(uintptr_t)data, __ATOMIC_RELAXED);
}

static void block_made(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, count, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void system_call(plugin_id id, unsigned int vcpu, int64_t number, uint64_t file, uint64_t b, uint64_t c, uint64_t d,
                        uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)vcpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == WRITE && file == 1)
        fprintf(stderr, "%" PRIu64 "\n", __atomic_load_n(&sum, __ATOMIC_RELAXED));
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_made);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    return 0;
}
