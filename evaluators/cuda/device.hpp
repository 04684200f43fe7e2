#pragma once
// Owners of what the CUDA runtime hands out, and its errors as exceptions.  After a failed launch
// or an asynchronous fault every later call fails too: whoever catches a CudaError at the edge (the
// C interface, the evaluator process) gives up the device, not only the call.
//
// Buffers belong to the device that is current when they are made; not thread-safe.

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace paretod::cuda {

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const std::string& what);
  [[nodiscard]] bool out_of_memory() const { return code_ == cudaErrorMemoryAllocation; }

 private:
  cudaError_t code_;
};

/// Says on stderr why, and ends the process with status 70: the daemon starts another one.
[[noreturn]] void end_process(const CudaError& error);

/// Throws CudaError unless it is cudaSuccess; `what` was being done.
void check(cudaError_t code, const char* what);

/// Memory on the device; empty when made with 0 elements.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* memory = nullptr;
    check(cudaMalloc(&memory, count * sizeof(T)), "allocating device memory");
    memory_.reset(static_cast<T*>(memory));
  }

  [[nodiscard]] T* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
  /// At least `count` elements; what was there is lost when it grows.
  void reserve(std::size_t count) {
    if (count <= count_) return;
    memory_.reset();
    *this = DeviceBuffer(count);
  }

 private:
  struct Free {
    void operator()(T* memory) const { cudaFree(memory); }
  };
  std::unique_ptr<T, Free> memory_;
  std::size_t count_ = 0;
};

/// Page-locked memory of the host, which copies can overlap with kernels.
template <class T>
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, count * sizeof(T), cudaHostAllocDefault),
          "allocating page-locked memory");
    memory_.reset(static_cast<T*>(memory));
  }

  [[nodiscard]] T* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::span<T> span() const { return {data(), count_}; }
  void reserve(std::size_t count) {
    if (count <= count_) return;
    memory_.reset();
    *this = PinnedBuffer(count);
  }

 private:
  struct Free {
    void operator()(T* memory) const { cudaFreeHost(memory); }
  };
  std::unique_ptr<T, Free> memory_;
  std::size_t count_ = 0;
};

class Stream {
 public:
  Stream();
  [[nodiscard]] cudaStream_t get() const { return stream_.get(); }
  /// Waits for all that was put on it; throws what went wrong there.
  void synchronize() const;

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy> stream_;
};

class Event {
 public:
  /// `timed`: milliseconds_since() may be asked.
  explicit Event(bool timed = false);
  void record(cudaStream_t stream) const;
  void synchronize() const;
  /// The stream's later work waits for it.
  void hold(cudaStream_t stream) const;
  [[nodiscard]] float milliseconds_since(const Event& start) const;

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

template <class T>
void upload(const T* from, std::size_t count, T* to, cudaStream_t stream) {
  if (count == 0) return;
  check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyHostToDevice, stream),
        "copying to the device");
}
template <class T>
void download(const T* from, std::size_t count, T* to, cudaStream_t stream) {
  if (count == 0) return;
  check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDeviceToHost, stream),
        "copying from the device");
}

/// What launches are shaped by.
struct DeviceLimits {
  unsigned multiprocessors = 1;
  std::size_t shared_bytes = 48 * 1024;  ///< of a block, once its kernel has opted in
  int compute_capability = 0;            ///< 90 for 9.0
};
/// Of the current device.
DeviceLimits device_limits();

}  // namespace paretod::cuda
