/* The floor: held descriptors, pread, absolute deadlines. What no sampler can be cheaper than.
 *
 * loop RATE_HZ SECONDS PATH...   prints one line of JSON: samples, late deadlines, processor and wall seconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MAX_PATHS 64
#define NS_PER_S 1000000000LL

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static double cpu_s(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static uint64_t read_number(int fd) {
    char text[33];
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0) {
        perror("pread");
        exit(1);
    }
    text[got] = 0;
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv) {
    int count = argc - 3, fds[MAX_PATHS];
    if (count < 1 || count > MAX_PATHS) {
        fprintf(stderr, "usage: loop RATE_HZ SECONDS PATH... (at most %d)\n", MAX_PATHS);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        fds[i] = open(argv[i + 3], O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0) {
            perror(argv[i + 3]);
            return 1;
        }
    }
    int64_t period = (int64_t)(NS_PER_S / atof(argv[1])), start = now_ns(), deadline = start;
    int64_t end = start + (int64_t)(atof(argv[2]) * NS_PER_S);
    uint64_t sum = 0;
    long samples = 0, late = 0;
    double before_s = cpu_s();
    while (deadline < end) {
        struct timespec until = {deadline / NS_PER_S, deadline % NS_PER_S};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        for (int i = 0; i < count; i++) {
            sum += (uint64_t)now_ns() ^ read_number(fds[i]); /* each read is timed; the sum keeps both alive */
        }
        samples++;
        deadline += period;
        int64_t missed = (now_ns() - deadline) / period;
        if (missed > 0) { /* skipped like the sampler does, never made up in a burst */
            late += missed;
            deadline += missed * period;
        }
    }
    printf("{\"samples\": %ld, \"late\": %ld, \"cpu_s\": %.6f, \"wall_s\": %.6f, \"sum\": %llu}\n", samples, late,
           cpu_s() - before_s, (now_ns() - start) / 1e9, (unsigned long long)sum);
    return 0;
}
