#include "evaluators/cuda/device.hpp"

#include <cstdio>
#include <cstdlib>

namespace paretod::cuda {

CudaError::CudaError(cudaError_t code, const std::string& what)
    : std::runtime_error("CUDA failed while " + what + ": " + cudaGetErrorString(code) + " (" +
                         cudaGetErrorName(code) + ")"),
      code_(code) {}

void end_process(const CudaError& error) {
  std::fprintf(stderr,
               "paretod-cuda-evaluator: %s; this process ends, since a device does not "
               "recover from that%s\n",
               error.what(), error.out_of_memory() ? " (cap its memory, or take less)" : "");
  std::fflush(stderr);
  std::_Exit(70);
}

void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess) throw CudaError(code, what);
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  stream_.reset(stream);
}

void Stream::synchronize() const {
  check(cudaStreamSynchronize(stream_.get()), "waiting for the device");
}

Event::Event(bool timed) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, timed ? 0 : cudaEventDisableTiming), "creating an event");
  event_.reset(event);
}

void Event::record(cudaStream_t stream) const {
  check(cudaEventRecord(event_.get(), stream), "recording an event");
}

void Event::synchronize() const {
  check(cudaEventSynchronize(event_.get()), "waiting for the device");
}

void Event::hold(cudaStream_t stream) const {
  check(cudaStreamWaitEvent(stream, event_.get(), 0), "ordering streams");
}

float Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_.get(), event_.get()), "timing");
  return milliseconds;
}

DeviceLimits device_limits() {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the device");
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "asking the device for its limits");
    return value;
  };
  DeviceLimits limits;
  limits.multiprocessors = static_cast<unsigned>(attribute(cudaDevAttrMultiProcessorCount));
  limits.shared_bytes =
      static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  limits.compute_capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                              attribute(cudaDevAttrComputeCapabilityMinor);
  return limits;
}

}  // namespace paretod::cuda
