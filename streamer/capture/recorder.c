/* The recorder's life between its start and its end (recorder.py has the same in Python): sleep until the device has
 * as much as the daemon waits for, read it into the ring, tell the daemon. An interpreter that wakes thirty times a
 * second, on caches that others have used meanwhile, costs more than twice as much. */
#define _GNU_SOURCE
#include "../kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define GONE (-1)
#define INPUT_OVERFLOWED (-9981) /* PortAudio's; sound was lost before what it gives, which is good */

typedef long available_call(void *stream);
typedef int read_call(void *stream, void *frames, unsigned long count);

/* As recorder_kernel.py has it. */
typedef struct {
    available_call *available;
    read_call *read;
    void *stream;
    uint64_t *header; /* claimed, and wanted by the reader */
    char *storage;
    int64_t capacity_frames, frame_bytes, rate_hz;
    int64_t block_frames, longest_frames, most_frames;
    int64_t look_us, looks_max, hang_us;
    int64_t frames, told, step, overflows;
    int32_t pipe, clock;
} recorder;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static void alarm_after(int64_t us) {
    struct itimerval timer = {.it_value = {us / 1000000, us % 1000000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Frames that wait in the device, or PortAudio's error. A sound server that ends just then can leave us here for
 * ever: the timer's signal ends the process. */
static long available(recorder *r) {
    alarm_after(r->hang_us);
    long found = r->available(r->stream);
    alarm_after(0);
    if (found != INPUT_OVERFLOWED) return found;
    r->overflows++; /* and it goes on */
    return 0;
}

/* Sleep until so many frames wait in the device; where they do not come in time PortAudio is asked all the same. */
static int await(recorder *r, int64_t frames) {
    for (int64_t look = 0; look < r->looks_max; look++) {
        long found = available(r);
        if (found < 0) return (int)found;
        if (found >= frames) break;
        int64_t us = largest(r->look_us, (frames - found) * 1000000 / r->rate_hz);
        struct timespec rest = {us / 1000000, us % 1000000 * 1000};
        nanosleep(&rest, NULL);
    }
    return 0;
}

static int64_t due_frames(recorder *r) {
    int64_t wanted = (int64_t)__atomic_load_n(&r->header[1], __ATOMIC_RELAXED);
    int64_t due = wanted > r->told ? wanted : r->told + r->block_frames;
    return least(due, r->told + r->longest_frames);
}

/* Straight into the ring, whose reader is told first what is about to be overwritten. */
static int read_frames(recorder *r, int64_t count) {
    __atomic_store_n(&r->header[0], (uint64_t)(r->frames + count), __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    while (count > 0) {
        int64_t at = r->frames % r->capacity_frames, some = least(count, r->capacity_frames - at);
        int error = r->read(r->stream, r->storage + at * r->frame_bytes, (unsigned long)some);
        if (error == INPUT_OVERFLOWED)
            r->overflows++;
        else if (error < 0)
            return error;
        r->frames += some;
        count -= some;
    }
    return 0;
}

static int tell(recorder *r) {
    streamer_told told;
    memset(&told, 0, sizeof told);
    told.kind = 'S';
    told.overflows = (uint32_t)r->overflows;
    told.frames = (uint64_t)r->frames;
    told.captured_s = seconds(r->clock);
    told.captured_utc_s = seconds(CLOCK_REALTIME);
    told.cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
    /* a full pipe loses it: the next record that fits says as much */
    return write(r->pipe, &told, sizeof told) < 0 && errno != EAGAIN && errno != EINTR ? GONE : 0;
}

/* Returns only where something is wrong: PortAudio's error, or GONE where the daemon listens no more. */
int streamer_record(recorder *r) {
    for (;;) {
        while (r->frames == r->told || r->frames < due_frames(r)) {
            /* The daemon says what it wants while we sleep; until then it is taken to want as much as before. */
            int error = await(r, least(r->told + r->step - r->frames, r->most_frames));
            if (error < 0) return error;
            int64_t frames = largest(1, least(due_frames(r) - r->frames, r->most_frames));
            if ((error = await(r, frames)) < 0 || (error = read_frames(r, frames)) < 0) return error;
        }
        r->step = r->frames - r->told;
        r->told = r->frames;
        int error = tell(r);
        if (error < 0) return error;
    }
}
