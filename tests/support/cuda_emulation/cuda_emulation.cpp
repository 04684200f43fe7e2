#include <cuda_runtime.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> capture;
};
struct EmulatedEvent {
  std::chrono::steady_clock::time_point time;
};

namespace emulation {
namespace {

constexpr std::size_t stack_bytes = 128 * 1024;

/// Exactly so many bytes, so that address sanitizer sees accesses beyond them.
void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, std::max<std::size_t>(bytes, 1)) != 0) std::abort();
  return memory;
}

enum class State { ready, at_block_barrier, at_warp_barrier, done };

// Contexts start a fiber; from then on jumps switch, which unlike swapcontext() make no system
// call. Address sanitizer has to be told of switches, and is only when contexts do them.
struct Fiber {
  std::unique_ptr<unsigned char[]> stack = std::make_unique<unsigned char[]>(stack_bytes);
  ucontext_t context;
  jmp_buf jump;
  bool started = false;
  State state = State::ready;
};

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "CUDA emulation: %s\n", why);
  std::abort();
}

/// One block at a time.
class Block {
 public:
  void run(unsigned threads, std::size_t shared_bytes, const std::function<void()>& thread) {
    body_ = &thread;
    threads_ = threads;
    while (fibers_.size() < threads) fibers_.push_back(std::make_unique<Fiber>());
    exchange_.assign(threads * exchange_bytes, 0xFF);
    shared_.reset(static_cast<unsigned char*>(allocate(shared_bytes)));
    std::memset(shared_.get(), 0xFF, shared_bytes);
    for (unsigned i = 0; i < threads; ++i) start(i);
    while (sweep()) release();
  }
  unsigned char* shared() { return shared_.get(); }
  unsigned char* exchange(unsigned lane) {
    return &exchange_[(current_ / 32 * 32 + lane) * exchange_bytes];
  }
  void wait(State barrier) {
    fibers_[current_]->state = barrier;
    leave();
  }

 private:
  static void entry() { instance().body(); }
  void body() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &main_bottom_, &main_size_);
#endif
    (*body_)();
    fibers_[current_]->state = State::done;
    leave();
  }
  void start(unsigned i) {
    Fiber& fiber = *fibers_[i];
    fiber.state = State::ready;
    fiber.started = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
  }
  void enter(unsigned i) {
    current_ = i;
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fibers_[i]->stack.get(), stack_bytes);
    swapcontext(&main_, &fibers_[i]->context);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    if (_setjmp(main_jump_) != 0) return;
    if (fibers_[i]->started) _longjmp(fibers_[i]->jump, 1);
    fibers_[i]->started = true;
    setcontext(&fibers_[i]->context);
#endif
  }
  void leave() {
    const unsigned mine = current_;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(fibers_[mine]->state == State::done ? nullptr : &fake,
                                   main_bottom_, main_size_);
    swapcontext(&fibers_[mine]->context, &main_);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    if (_setjmp(fibers_[mine]->jump) == 0) _longjmp(main_jump_, 1);
#endif
  }
  /// Runs whoever can; false when all are done.
  bool sweep() {
    for (unsigned n = 0; n < threads_; ++n) {
      const unsigned i = reverse_order ? threads_ - 1 - n : n;
      if (fibers_[i]->state == State::ready) enter(i);
    }
    for (unsigned i = 0; i < threads_; ++i) {
      if (fibers_[i]->state != State::done) return true;
    }
    return false;
  }
  /// Opens every warp barrier that all lanes have reached, else the block's.
  void release() {
    bool opened = false;
    for (unsigned first = 0; first < threads_; first += 32) {
      const unsigned end = std::min(first + 32, threads_);
      unsigned waiting = 0;
      for (unsigned i = first; i < end; ++i) waiting += fibers_[i]->state == State::at_warp_barrier;
      if (waiting == 0) continue;
      if (waiting != end - first) fail("not all lanes of a warp reach a shuffle");
      for (unsigned i = first; i < end; ++i) fibers_[i]->state = State::ready;
      opened = true;
    }
    if (opened) return;
    for (unsigned i = 0; i < threads_; ++i) {
      if (fibers_[i]->state != State::at_block_barrier) fail("not all threads reach a barrier");
    }
    for (unsigned i = 0; i < threads_; ++i) fibers_[i]->state = State::ready;
  }

 public:
  static Block& instance() {
    static Block block;
    return block;
  }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  const std::function<void()>* body_ = nullptr;
  unsigned threads_ = 0;
  unsigned current_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<unsigned char> exchange_;
  std::unique_ptr<unsigned char, Free> shared_;
  ucontext_t main_;
  jmp_buf main_jump_;
  const void* main_bottom_ = nullptr;
  std::size_t main_size_ = 0;
};

std::mutex mutex;
std::mutex memory_mutex;
std::map<void*, std::size_t> blocks;
std::size_t total = 0;

}  // namespace

std::size_t allocated() {
  const std::lock_guard lock(memory_mutex);
  return total;
}

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread) {
  const std::lock_guard lock(mutex);
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.y > 65'535 || grid.z > 65'535 || block.z > 64) {
    fail("a launch of no such shape");
  }
  if (shared_bytes > 227 * 1024) fail("a launch with too much shared memory");
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        Block::instance().run(threads, shared_bytes, thread);
      }
    }
  }
}

unsigned char* dynamic_shared() {
  return Block::instance().shared();
}
void block_barrier() {
  Block::instance().wait(State::at_block_barrier);
}
void warp_barrier() {
  Block::instance().wait(State::at_warp_barrier);
}
unsigned char* exchange(unsigned lane) {
  return Block::instance().exchange(lane);
}

cudaError_t fault() {
  static const char* const file = std::getenv("CUDA_EMULATION_FAULT");
  static std::atomic<bool> faulted{false};
  if (file != nullptr && std::remove(file) == 0) faulted = true;
  return faulted ? cudaErrorLaunchFailure : cudaSuccess;
}

void submit(cudaStream_t stream, std::function<void()> work) {
  if (stream != nullptr && stream->capture) {
    stream->capture->work.push_back(std::move(work));
  } else {
    work();
  }
}

}  // namespace emulation

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "invalid argument";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    default:
      return "cudaErrorInvalidValue";
  }
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  *count = visible != nullptr && *visible == 0 ? 0 : 1;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 3;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 96 * 1024;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    default:
      *value = 0;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulation on the processor");
  properties->multiProcessorCount = 3;
  properties->major = 9;
  properties->totalGlobalMem = emulation::device_memory;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = emulation::device_memory;
  *free = *total - std::min(*total, emulation::allocated());
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard lock(emulation::memory_mutex);
  if (emulation::total + bytes > emulation::device_memory) return cudaErrorMemoryAllocation;
  *memory = emulation::allocate(bytes);
  std::memset(*memory, 0xFF, bytes);
  emulation::blocks[*memory] = bytes;
  emulation::total += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const std::lock_guard lock(emulation::memory_mutex);
  const auto found = emulation::blocks.find(memory);
  if (found == emulation::blocks.end()) return cudaErrorInvalidValue;
  emulation::total -= found->second;
  emulation::blocks.erase(found);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  *memory = emulation::allocate(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  emulation::submit(stream, [=] {
    if (bytes > 0) std::memcpy(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  emulation::submit(stream, [=] {
    if (bytes > 0) std::memset(to, value, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return emulation::fault();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = std::make_unique<EmulatedGraph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capture.release();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const auto& work : executable->work) work();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return emulation::fault();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}
