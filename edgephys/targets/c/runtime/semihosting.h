/* Ask the debugger, here qemu, for files, text and an end. Source: Arm, "Semihosting for AArch32 and AArch64". */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum { HOST_OPEN = 0x01, HOST_WRITE0 = 0x04, HOST_WRITE = 0x05, HOST_READ = 0x06, HOST_CLOSE = 0x02, HOST_EXIT = 0x20 };
enum { HOST_FOR_READING = 1, HOST_FOR_WRITING = 5 };

static inline int32_t host_call(int32_t operation, const void *parameters) {
    register int32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = parameters;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline void host_say(const char *text) { host_call(HOST_WRITE0, text); }

static inline void host_exit(uint32_t status) {
    const uint32_t block[2] = {0x20026, status}; /* the application's own exit, and its status */
    for (;;)
        host_call(HOST_EXIT, block);
}

static inline int32_t host_open(const char *name, uint32_t length, uint32_t mode) {
    const uint32_t block[3] = {(uint32_t)name, mode, length};
    return host_call(HOST_OPEN, block);
}

/* Return how many bytes were not read, 0 where all were. */
static inline int32_t host_read(int32_t file, void *to, uint32_t bytes) {
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)to, bytes};
    return host_call(HOST_READ, block);
}

/* Return how many bytes were not written, 0 where all were. */
static inline int32_t host_write(int32_t file, const void *from, uint32_t bytes) {
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)from, bytes};
    return host_call(HOST_WRITE, block);
}

static inline int32_t host_close(int32_t file) {
    const uint32_t block[1] = {(uint32_t)file};
    return host_call(HOST_CLOSE, block);
}

#endif
