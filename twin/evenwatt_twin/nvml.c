/* A libnvidia-ml.so.1 without a driver: the part of NVML that a power agent calls, served from a shared file.
 *
 * The file is named by EVENWATT_TWIN_NVML; its layout is written down a second time in nvml.py, and `version` is raised
 * whenever either changes. The twin writes energy, power and utilisation; this library writes only limits. Every number
 * that two processes share is read and written in one piece. Numbers and names of NVML's ABI are those of nvml.h 13.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4c4d564e54574557ull /* "WEWTNVML", little endian */
#define VERSION 4u
#define MAX_DEVICES 16u
#define PROCESSES 8u

#define NEEDS_ROOT 1u
#define NO_ENERGY 2u
#define MIG_CAPABLE 4u
#define MIG_ENABLED 8u
#define PERSISTENT 16u
#define GONE 32u
#define NO_AVERAGE 64u
#define OLD_FIELDS 128u
#define LIMIT_LOCKED 256u

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 18
};

typedef struct {
    uint64_t energy_mj;
    uint64_t memory_total;
    uint64_t memory_used;
    uint32_t power_mw;
    uint32_t average_mw;
    uint32_t limit_mw;
    uint32_t enforced_mw;
    uint32_t default_mw;
    uint32_t min_mw;
    uint32_t max_mw;
    uint32_t util_gpu;
    uint32_t util_memory;
    uint32_t temperature_c;
    uint32_t error;
    uint32_t flags;
    uint32_t architecture;
    uint32_t cc_major;
    uint32_t cc_minor;
    uint32_t pci_bus;
    uint32_t pci_device_id;
    uint32_t reloads;
    uint32_t set_calls;
    uint32_t spare;
    char name[96];
    char uuid[96];
    uint32_t process_pid[PROCESSES];
    uint32_t process_sm[PROCESSES]; /* percent */
    uint32_t module_mw;             /* 0: not a module of several chips */
    uint32_t process_error;         /* what queries by process answer, and no other call */
    uint32_t ahead_s;               /* its samples' stamps are of a clock that is ahead by this */
    uint32_t locked_mhz;            /* upper bound of the graphics clock; 0: none */
    uint32_t top_mhz;
    uint32_t clock_mhz;
    uint8_t reserved[128];
} device_t;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t count;
    char driver[80];
    char nvml[80];
    uint8_t reserved[336];
    device_t devices[MAX_DEVICES];
} state_t;

_Static_assert(sizeof(device_t) == 512, "nvml.py counts on 512 bytes");
_Static_assert(sizeof(state_t) == 512 + 512 * MAX_DEVICES, "nvml.py counts on a header of 512 bytes");

static state_t *shared;
static int users;

#define GET(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define PUT(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

static int map_state(void) {
    const char *path = getenv("EVENWATT_TWIN_NVML");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return DRIVER_NOT_LOADED;
    struct stat st;
    void *at = MAP_FAILED;
    if (fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(state_t))
        at = mmap(NULL, sizeof(state_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return DRIVER_NOT_LOADED;
    state_t *state = at;
    if (GET(state->magic) != MAGIC || state->version != VERSION || state->count > MAX_DEVICES) {
        munmap(at, sizeof(state_t));
        return VERSION_MISMATCH;
    }
    /* Stays mapped until the process ends: a handle used after nvmlShutdown must be refused, not crash. */
    state_t *none = NULL;
    if (!__atomic_compare_exchange_n(&shared, &none, state, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        munmap(at, sizeof(state_t));
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int failed = GET(shared) ? SUCCESS : map_state();
    if (!failed)
        __atomic_add_fetch(&users, 1, __ATOMIC_ACQ_REL);
    return failed;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    int now = GET(users);
    while (now > 0)
        if (__atomic_compare_exchange_n(&users, &now, now - 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return SUCCESS;
    return UNINITIALIZED;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case 0: return "Success";
    case 1: return "Uninitialized";
    case 2: return "Invalid Argument";
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 6: return "Not Found";
    case 7: return "Insufficient Size";
    case 9: return "Driver Not Loaded";
    case 10: return "Timeout";
    case 13: return "Function Not Found";
    case 15: return "GPU is lost";
    case 16: return "GPU requires restart";
    case 17: return "The operating system has blocked the request.";
    case 18: return "RM has detected an NVML/RM version mismatch.";
    case 20: return "Insufficient Memory";
    case 21: return "No data";
    default: return "Unknown Error";
    }
}

/* What every call on a board answers first. */
static int check(const device_t *device, const void *out) {
    if (GET(users) <= 0)
        return UNINITIALIZED;
    state_t *state = GET(shared);
    if (device < state->devices || device >= state->devices + state->count)
        return INVALID_ARGUMENT;
    if (GET(device->flags) & GONE)
        return GPU_IS_LOST;
    int injected = (int)GET(device->error);
    if (injected)
        return injected;
    return out ? SUCCESS : INVALID_ARGUMENT;
}

/* The same for queries by process, which can fail alone. */
static int check_processes(const device_t *device, const void *out) {
    int failed = check(device, out);
    return failed ? failed : (int)GET(device->process_error);
}

static int copy_text(char *out, unsigned size, const char *text) {
    if (!out)
        return INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return GET(users) > 0 ? copy_text(out, size, shared->driver) : UNINITIALIZED;
}

int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    return GET(users) > 0 ? copy_text(out, size, shared->nvml) : UNINITIALIZED;
}

/* The board that has an index now: those after one that fell off the bus have moved up. NULL beyond the last. */
static device_t *nth(unsigned index, unsigned *count) {
    device_t *found = NULL;
    unsigned seen = 0;
    for (unsigned i = 0; i < shared->count; i++) {
        if (GET(shared->devices[i].flags) & GONE)
            continue;
        if (seen++ == index)
            found = &shared->devices[i];
    }
    if (count)
        *count = seen;
    return found;
}

int nvmlDeviceGetCount_v2(unsigned *out) {
    if (GET(users) <= 0)
        return UNINITIALIZED;
    if (!out)
        return INVALID_ARGUMENT;
    nth(0, out);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t **out) {
    if (GET(users) <= 0)
        return UNINITIALIZED;
    device_t *device = nth(index, NULL);
    if (!out || !device)
        return INVALID_ARGUMENT;
    *out = device;
    return check(device, out);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device_t **out) {
    if (GET(users) <= 0)
        return UNINITIALIZED;
    if (!uuid || !out)
        return INVALID_ARGUMENT;
    for (unsigned i = 0; i < shared->count; i++)
        if (strcmp(uuid, shared->devices[i].uuid) == 0) {
            *out = &shared->devices[i];
            return check(*out, out);
        }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(device_t *device, unsigned *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    for (*out = 0; nth(*out, NULL) != device;)
        ++*out;
    return SUCCESS;
}

int nvmlDeviceGetName(device_t *device, char *out, unsigned size) {
    int failed = check(device, out);
    return failed ? failed : copy_text(out, size, device->name);
}

int nvmlDeviceGetUUID(device_t *device, char *out, unsigned size) {
    int failed = check(device, out);
    return failed ? failed : copy_text(out, size, device->uuid);
}

int nvmlDeviceGetSerial(device_t *device, char *out, unsigned size) {
    (void)size;
    int failed = check(device, out);
    return failed ? failed : NOT_SUPPORTED;
}

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_t;

int nvmlDeviceGetPciInfo_v3(device_t *device, pci_t *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    memset(out, 0, sizeof *out);
    out->bus = device->pci_bus;
    out->pci_device_id = device->pci_device_id;
    snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "0000:%02X:00.0", out->bus & 0xffu);
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus & 0xffu);
    return SUCCESS;
}

#define NUMBER(function, field)                         \
    int function(device_t *device, unsigned *out) {     \
        int failed = check(device, out);                \
        if (!failed)                                    \
            *out = GET(device->field);                  \
        return failed;                                  \
    }

/* On Ampere and later GetPowerUsage is a mean over one second (nvml.h). */
NUMBER(nvmlDeviceGetPowerUsage, average_mw)
NUMBER(nvmlDeviceGetPowerManagementLimit, limit_mw)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, default_mw)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, enforced_mw)
NUMBER(nvmlDeviceGetArchitecture, architecture)

int nvmlDeviceGetTotalEnergyConsumption(device_t *device, unsigned long long *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    if (device->flags & NO_ENERGY)
        return NOT_SUPPORTED;
    *out = GET(device->energy_mj);
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimitConstraints(device_t *device, unsigned *low, unsigned *high) {
    int failed = check(device, low && high ? low : NULL);
    if (failed)
        return failed;
    *low = GET(device->min_mw);
    *high = GET(device->max_mw);
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementMode(device_t *device, unsigned *out) {
    int failed = check(device, out);
    if (!failed)
        *out = 1;
    return failed;
}

int nvmlDeviceSetPowerManagementLimit(device_t *device, unsigned limit_mw) {
    int failed = check(device, device);
    if (failed)
        return failed;
    if (device->flags & NEEDS_ROOT)
        return NO_PERMISSION;
    if (device->flags & LIMIT_LOCKED)
        return NOT_SUPPORTED;
    if (limit_mw < GET(device->min_mw) || limit_mw > GET(device->max_mw))
        return INVALID_ARGUMENT;
    PUT(device->limit_mw, limit_mw);
    __atomic_add_fetch(&device->set_calls, 1, __ATOMIC_ACQ_REL);
    return SUCCESS;
}

/* Clock types: 0 graphics, 1 SM, 2 memory, 3 video. Only the graphics clock moves here. */
static int clock_of(device_t *device, unsigned type, uint32_t *field, unsigned *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    if (type > 3)
        return INVALID_ARGUMENT;
    if (type != 0)
        return NOT_SUPPORTED;
    *out = GET(*field);
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(device_t *device, unsigned type, unsigned *out) {
    return clock_of(device, type, &device->clock_mhz, out);
}

int nvmlDeviceGetMaxClockInfo(device_t *device, unsigned type, unsigned *out) {
    return clock_of(device, type, &device->top_mhz, out);
}

int nvmlDeviceSetGpuLockedClocks(device_t *device, unsigned low_mhz, unsigned high_mhz) {
    int failed = check(device, device);
    if (failed)
        return failed;
    if (device->flags & NEEDS_ROOT)
        return NO_PERMISSION;
    if (low_mhz > high_mhz || high_mhz == 0)
        return INVALID_ARGUMENT;
    PUT(device->locked_mhz, high_mhz);
    return SUCCESS;
}

int nvmlDeviceResetGpuLockedClocks(device_t *device) {
    int failed = check(device, device);
    if (failed)
        return failed;
    if (device->flags & NEEDS_ROOT)
        return NO_PERMISSION;
    PUT(device->locked_mhz, 0);
    return SUCCESS;
}

typedef struct {
    unsigned gpu, memory;
} utilization_t;

int nvmlDeviceGetUtilizationRates(device_t *device, utilization_t *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    out->gpu = GET(device->util_gpu);
    out->memory = GET(device->util_memory);
    return SUCCESS;
}

typedef struct {
    unsigned long long total, free, used;
} memory_t;

int nvmlDeviceGetMemoryInfo(device_t *device, memory_t *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    out->total = device->memory_total;
    out->used = GET(device->memory_used);
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device_t *device, int sensor, unsigned *out) {
    int failed = check(device, out);
    if (failed)
        return failed;
    if (sensor != 0)
        return INVALID_ARGUMENT;
    *out = GET(device->temperature_c);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(device_t *device, unsigned *current, unsigned *pending) {
    int failed = check(device, current && pending ? current : NULL);
    if (failed)
        return failed;
    if (!(device->flags & MIG_CAPABLE))
        return NOT_SUPPORTED;
    *current = *pending = (device->flags & MIG_ENABLED) != 0;
    return SUCCESS;
}

int nvmlDeviceGetPersistenceMode(device_t *device, unsigned *out) {
    int failed = check(device, out);
    if (!failed)
        *out = (device->flags & PERSISTENT) != 0;
    return failed;
}

int nvmlDeviceGetCudaComputeCapability(device_t *device, int *major, int *minor) {
    int failed = check(device, major && minor ? major : NULL);
    if (failed)
        return failed;
    *major = (int)device->cc_major;
    *minor = (int)device->cc_minor;
    return SUCCESS;
}

typedef struct {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
} process_t;

int nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned *count, process_t *out) {
    int failed = check_processes(device, count);
    if (failed)
        return failed;
    unsigned room = out ? *count : 0, found = 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        unsigned pid = GET(device->process_pid[i]);
        if (!pid)
            continue;
        if (found < room)
            out[found] = (process_t){pid, 1ull << 30, 0xffffffffu, 0xffffffffu};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

typedef struct {
    unsigned pid;
    unsigned long long timestamp_us;
    unsigned sm, memory, encoder, decoder;
} sample_t;

/* One sample for each process that has worked since; NOT_FOUND for none (nvml.h). Boards cut by MIG do not know. */
int nvmlDeviceGetProcessUtilization(device_t *device, sample_t *out, unsigned *count, unsigned long long since) {
    int failed = check_processes(device, count);
    if (failed)
        return failed;
    if (device->flags & MIG_ENABLED)
        return NOT_SUPPORTED;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned long long now_us = (unsigned long long)now.tv_sec * 1000000ull + (unsigned)now.tv_nsec / 1000;
    now_us += GET(device->ahead_s) * 1000000ull;
    unsigned room = out ? *count : 0, found = 0;
    for (unsigned i = 0; i < PROCESSES && now_us > since; i++) {
        unsigned pid = GET(device->process_pid[i]), sm = GET(device->process_sm[i]);
        if (!pid || !sm)
            continue;
        if (found < room)
            out[found] = (sample_t){pid, now_us, sm, sm / 2, 0, 0};
        found++;
    }
    *count = found;
    if (!found)
        return NOT_FOUND;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

typedef struct {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    int type, result;
    union {
        unsigned ui;
        unsigned long long ull;
    } value;
} field_t;

#define TYPE_UINT 1
#define TYPE_ULL 3

static int power_field(const device_t *device, unsigned field, unsigned *out) {
    unsigned flags = GET(device->flags);
    if (flags & OLD_FIELDS)
        return INVALID_ARGUMENT;
    if (field == 185 && flags & NO_AVERAGE)
        return NOT_SUPPORTED;
    switch (field) {
    case 185: *out = GET(device->average_mw); return SUCCESS;
    case 186: *out = GET(device->power_mw); return SUCCESS;
    case 187: *out = GET(device->min_mw); return SUCCESS;
    case 188: *out = GET(device->max_mw); return SUCCESS;
    case 189: *out = GET(device->default_mw); return SUCCESS;
    case 190: *out = GET(device->enforced_mw); return SUCCESS;
    case 192: *out = GET(device->limit_mw); return SUCCESS;
    default: return NOT_SUPPORTED;
    }
}

static void fill_field(const device_t *device, field_t *out) {
    if (out->field == 83) { /* total energy, mJ */
        out->type = TYPE_ULL;
        out->value.ull = GET(device->energy_mj);
        out->result = device->flags & NO_ENERGY ? NOT_SUPPORTED : SUCCESS;
    } else {
        out->type = TYPE_UINT;
        out->value.ull = 0;
        /* Scope 1 is a module of several chips; a board of one does not know it. */
        if (out->scope == 1 && GET(device->module_mw) && (out->field == 186 || (out->field == 185 && !(GET(device->flags) & NO_AVERAGE)))) {
            out->value.ui = GET(device->module_mw);
            out->result = SUCCESS;
        } else {
            out->result = out->scope == 0 ? power_field(device, out->field, &out->value.ui) : NOT_SUPPORTED;
        }
    }
}

int nvmlDeviceGetFieldValues(device_t *device, int count, field_t *out) {
    int failed = check(device, count > 0 ? out : NULL);
    if (failed)
        return failed;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        out[i].timestamp_us = (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        out[i].latency_us = 0;
        fill_field(device, &out[i]);
    }
    return SUCCESS;
}
