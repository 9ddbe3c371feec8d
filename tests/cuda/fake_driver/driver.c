/* A stand-in for NVIDIA's driver: device memory is the host's, all work is done at once but what only a synchronisation
   finishes, and a call that a driver would refuse, or that is made in another context than it belongs to, is refused. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS 8
#define MOST 4096

typedef int Result;
typedef uint64_t Device;
typedef struct { int gpu; } Handle; /* of a context, stream, event or module */
typedef struct { Device start; size_t size; int gpu; } Piece;

enum { OK = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

static __thread Handle *current;
static Handle contexts[GPUS];
static Piece allocated[MOST], pending[MOST];
static int peers[GPUS][GPUS];
static char said[200] = "no error";
static void (*on_load)(void *, const char *);
static int (*on_launch)(void *, const unsigned *, const void *, size_t);

void fake_driver_set(void *load, void *launch) { on_load = load; on_launch = launch; }

static Result refused(Result code, const char *why) { snprintf(said, sizeof said, "%s", why); return code; }
#define REFUSE_IF(condition, code) do { if (condition) return refused(code, #condition); } while (0)
#define IN_CONTEXT REFUSE_IF(!current, INVALID_CONTEXT)
#define OF_CONTEXT(handle) IN_CONTEXT; REFUSE_IF(!(handle) || (handle)->gpu != current->gpu, INVALID_HANDLE)

static Handle *made(void) { Handle *h = malloc(sizeof *h); h->gpu = current->gpu; return h; }
static int count(void) { const char *n = getenv("FAKE_GPUS"); return n ? atoi(n) : 1; }
static int lies_in(Device at, size_t size, int gpu) {
  for (int i = 0; i < MOST; i++) {
    Piece *a = &allocated[i];
    if (a->start && a->gpu == gpu && a->start <= at && at + size <= a->start + a->size) return 1;
  }
  return 0;
}
#define HERE(at, size) REFUSE_IF(!lies_in(at, size, current->gpu), INVALID_VALUE)

Result cuInit(unsigned flags) { REFUSE_IF(flags, INVALID_VALUE); return OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuDeviceGetCount(int *found) { *found = count(); return OK; }
Result cuDeviceGet(int *device, int number) { REFUSE_IF(number >= count(), 101); *device = number; return OK; }
Result cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "NVIDIA A100-SXM4-80GB"); return OK; }
Result cuDeviceTotalMem_v2(size_t *size, int device) { *size = 80ull << 30; return OK; }
Result cuDeviceGetAttribute(int *value, int which, int device) {
  *value = which == 16 ? 108 : which == 75 ? 8 : 0; /* multiprocessors; compute capability, the emulator's: other tests compile the same */
  return OK;
}
Result cuDevicePrimaryCtxRetain(Handle **context, int device) {
  contexts[device].gpu = device;
  *context = &contexts[device];
  return OK;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { REFUSE_IF(device >= count(), 101); return OK; }
Result cuCtxSetCurrent(Handle *context) { current = context; return OK; }
Result cuCtxGetCurrent(Handle **context) { *context = current; return OK; }
Result cuCtxSynchronize(void) {
  IN_CONTEXT;
  for (int i = 0; i < MOST; i++) {
    if (pending[i].start && pending[i].gpu == current->gpu) {
      memset((void *)pending[i].start, 0, pending[i].size);
      pending[i].start = 0;
    }
  }
  return OK;
}
Result cuDeviceCanAccessPeer(int *can, int one, int two) { *can = one != two; return OK; }
Result cuCtxEnablePeerAccess(Handle *other, unsigned flags) {
  IN_CONTEXT;
  REFUSE_IF(flags || other == current, INVALID_VALUE);
  REFUSE_IF(peers[current->gpu][other->gpu]++, 704);
  return OK;
}
Result cuMemGetInfo_v2(size_t *unused, size_t *total) {
  IN_CONTEXT;
  *unused = *total = 80ull << 30;
  for (int i = 0; i < MOST; i++) if (allocated[i].start && allocated[i].gpu == current->gpu) *unused -= allocated[i].size;
  return OK;
}
Result cuMemAlloc_v2(Device *at, size_t size) {
  IN_CONTEXT;
  REFUSE_IF(!size, INVALID_VALUE);
  *at = (Device)aligned_alloc(256, (size + 255) / 256 * 256);
  memset((void *)*at, 0xFF, size); /* no numbers: what is to be zero has to be made so */
  for (int i = 0; i < MOST; i++) if (!allocated[i].start) { allocated[i] = (Piece){*at, size, current->gpu}; return OK; }
  return 2;
}
Result cuMemFree_v2(Device at) {
  IN_CONTEXT;
  for (int i = 0; i < MOST; i++) if (allocated[i].start == at && allocated[i].gpu == current->gpu) {
    allocated[i].start = 0;
    free((void *)at);
    return OK;
  }
  return refused(INVALID_VALUE, "not allocated");
}
Result cuMemsetD8_v2(Device at, unsigned char value, size_t size) {
  IN_CONTEXT;
  HERE(at, size);
  REFUSE_IF(value, INVALID_VALUE);
  /* Done when it is waited for: streams that do not block, the only ones here, do not wait by themselves. */
  for (int i = 0; i < MOST; i++) if (!pending[i].start) { pending[i] = (Piece){at, size, current->gpu}; return OK; }
  return 2;
}
Result cuStreamCreate(Handle **stream, unsigned flags) {
  IN_CONTEXT;
  REFUSE_IF(flags != 1, INVALID_VALUE); /* CU_STREAM_NON_BLOCKING */
  *stream = made();
  return OK;
}
Result cuStreamDestroy_v2(Handle *stream) { OF_CONTEXT(stream); free(stream); return OK; }
Result cuStreamSynchronize(Handle *stream) { OF_CONTEXT(stream); return OK; }
Result cuStreamWaitEvent(Handle *stream, Handle *event, unsigned flags) {
  OF_CONTEXT(stream);
  REFUSE_IF(!event || flags, INVALID_VALUE);
  return OK;
}
Result cuEventCreate(Handle **event, unsigned flags) {
  IN_CONTEXT;
  REFUSE_IF(flags & ~3u, INVALID_VALUE);
  *event = made();
  return OK;
}
Result cuEventDestroy_v2(Handle *event) { OF_CONTEXT(event); free(event); return OK; }
Result cuEventRecord(Handle *event, Handle *stream) { OF_CONTEXT(stream); OF_CONTEXT(event); return OK; }
Result cuEventSynchronize(Handle *event) { REFUSE_IF(!event, INVALID_HANDLE); return OK; }
Result cuEventElapsedTime_v2(float *milliseconds, Handle *begun, Handle *ended) {
  OF_CONTEXT(begun);
  OF_CONTEXT(ended);
  *milliseconds = 1.5f;
  return OK;
}
Result cuMemHostAlloc(void **at, size_t size, unsigned flags) { IN_CONTEXT; *at = malloc(size); return OK; }
Result cuMemFreeHost(void *at) { IN_CONTEXT; free(at); return OK; }
Result cuMemcpyDtoDAsync_v2(Device target, Device source, size_t size, Handle *stream) {
  OF_CONTEXT(stream);
  HERE(target, size);
  HERE(source, size);
  memmove((void *)target, (void *)source, size);
  return OK;
}
Result cuMemcpyPeerAsync(Device target, Handle *there, Device source, Handle *here, size_t size, Handle *stream) {
  OF_CONTEXT(stream);
  REFUSE_IF(!lies_in(target, size, there->gpu) || !lies_in(source, size, here->gpu), INVALID_VALUE);
  memmove((void *)target, (void *)source, size);
  return OK;
}
Result cuMemcpyHtoDAsync_v2(Device target, const void *source, size_t size, Handle *stream) {
  OF_CONTEXT(stream);
  HERE(target, size);
  memcpy((void *)target, source, size);
  return OK;
}
Result cuMemcpyDtoHAsync_v2(void *target, Device source, size_t size, Handle *stream) {
  OF_CONTEXT(stream);
  HERE(source, size);
  memcpy(target, (void *)source, size);
  return OK;
}
Result cuModuleLoadData(Handle **module, const char *image) {
  IN_CONTEXT;
  REFUSE_IF(memcmp(image, "\177ELF", 4), 200);
  *module = made();
  on_load(*module, image);
  return OK;
}
Result cuModuleUnload(Handle *module) { OF_CONTEXT(module); return OK; }
Result cuModuleGetFunction(Handle **function, Handle *module, const char *name) {
  OF_CONTEXT(module);
  REFUSE_IF(strcmp(name, "kernel"), NOT_FOUND);
  *function = module;
  return OK;
}
Result cuLaunchKernel(Handle *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, Handle *stream, void **params, void **extra) {
  const unsigned sizes[] = {gx, gy, gz, bx, by, bz};
  const void *packed = 0;
  size_t size = 0;
  OF_CONTEXT(stream);
  OF_CONTEXT(function);
  REFUSE_IF(params || !extra, INVALID_VALUE);
  REFUSE_IF(!gx || !gy || !gz || gy > 65535 || gz > 65535 || bz > 64 || bx * by * bz > 1024, INVALID_VALUE);
  for (; *extra; extra += 2) { /* 1 is CU_LAUNCH_PARAM_BUFFER_POINTER, 2 CU_LAUNCH_PARAM_BUFFER_SIZE */
    if ((uintptr_t)extra[0] == 1) packed = extra[1];
    if ((uintptr_t)extra[0] == 2) size = *(size_t *)extra[1];
  }
  REFUSE_IF(!packed || !size, INVALID_VALUE);
  REFUSE_IF(on_launch(function, sizes, packed, size), LAUNCH_FAILED);
  return OK;
}
Result cuGetErrorString(Result code, const char **text) { *text = said; return OK; }
Result cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, void *status) {
  char full[200];
  void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  snprintf(full, sizeof full, "%s_v2", name);
  *found = dlsym(self, full);
  if (!*found) *found = dlsym(self, name);
  return *found ? OK : NOT_FOUND;
}
