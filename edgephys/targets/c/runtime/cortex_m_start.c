/* Start a Cortex-M: vector table, memory as C expects it, flash that cannot be written, faults that say where. */
#include "semihosting.h"

extern uint32_t stack_bottom[], stack_top[], data_source[], data_start[], data_end[], bss_start[], bss_end[];
extern int main(void);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CCR REGISTER(0xE000ED14)  /* configuration and control */
#define CFSR REGISTER(0xE000ED28) /* which fault it was */
#define BFAR REGISTER(0xE000ED38) /* the address of a data fault */
#define MPU_CTRL REGISTER(0xE000ED94)
#define MPU_RNR REGISTER(0xE000ED98)
#define MPU_RBAR REGISTER(0xE000ED9C)
#define MPU_RASR REGISTER(0xE000EDA0)

enum { TRAP_DIVISION_BY_0 = 1 << 4, TRAP_UNALIGNED = 1 << 3 };
enum { MPU_ENABLE = 1, MPU_DEFAULT_ELSEWHERE = 4, REGION_ENABLE = 1 };
enum { NO_ACCESS = 0, READ_ONLY = 6 << 24, BYTES_4M = 21 << 1, BYTES_256M = 27 << 1 };

static void protect(uint32_t region, uint32_t address, uint32_t bytes, uint32_t access) {
    MPU_RNR = region;
    MPU_RBAR = address;
    MPU_RASR = access | bytes | REGION_ENABLE;
}

/* Flash is RAM on this board, and what lies below the stack reads as 0: neither may go unnoticed. */
static void protect_memory(void) {
    protect(0, 0x00000000, BYTES_4M, READ_ONLY);
    protect(1, 0x10000000, BYTES_256M, NO_ACCESS);
    MPU_CTRL = MPU_ENABLE | MPU_DEFAULT_ELSEWHERE;
    __asm volatile("dsb\n isb" ::: "memory");
}

void reset(void) {
    const volatile uint32_t *from = data_source; /* volatile: loops, and no calls of memcpy and memset */
    for (volatile uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
    CCR |= TRAP_DIVISION_BY_0 | TRAP_UNALIGNED;
    protect_memory();
    host_exit((uint32_t)main());
}

static void say_number(const char *before, uint32_t number) {
    char text[11] = "0x00000000";
    for (int digit = 9; digit > 1; digit--, number >>= 4)
        text[digit] = "0123456789abcdef"[number & 15];
    host_say(before);
    host_say(text);
}

static const struct {
    uint32_t bit;
    const char *name;
} FAULTS[] = {
    {1u << 0, "instruction fetched from protected memory"},
    {1u << 1, "protected memory accessed"},
    {1u << 8, "instruction fetched where no memory is"},
    {1u << 9, "data accessed where no memory is"},
    {1u << 10, "data accessed where no memory is"},
    {1u << 16, "undefined instruction"},
    {1u << 17, "jump to an address that holds no code"},
    {1u << 24, "unaligned access"},
    {1u << 25, "division by 0"},
};

/* Report what the processor pushed when it faulted: r0-r3, r12, lr, pc, xPSR. */
void report_fault(const uint32_t *pushed) {
    const uint32_t status = CFSR;
    host_say("HardFault: ");
    if (pushed < stack_bottom || pushed + 8 > stack_top) { /* and thus nothing was pushed */
        say_number("the stack overflowed, to ", (uint32_t)pushed);
        host_say("\n");
        host_exit(70);
    }
    for (unsigned i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
        if (status & FAULTS[i].bit) {
            host_say(FAULTS[i].name);
            break;
        }
    say_number(", pc ", pushed[6]);
    say_number(", called from ", pushed[5]);
    if (status & (1u << 7 | 1u << 15))
        say_number(", address ", BFAR);
    say_number(", CFSR ", status);
    host_say("\n");
    host_exit(70);
}

/* A stack of its own: the one that overflowed cannot serve the report. */
__attribute__((used)) static uint64_t fault_stack[64];

__attribute__((naked)) void hard_fault(void) {
    __asm volatile("mrs r0, msp\n ldr r1, =fault_stack + 512\n mov sp, r1\n b report_fault");
}

static void unexpected(void) {
    host_say("unexpected exception\n");
    host_exit(71);
}

typedef void (*Handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    Handler handlers[15];
} VECTORS = {
    stack_top,
    {reset, unexpected, hard_fault, unexpected, unexpected, unexpected, 0, 0, 0, 0, unexpected, unexpected, 0,
     unexpected, unexpected},
};
