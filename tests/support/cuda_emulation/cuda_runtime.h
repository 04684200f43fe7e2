#pragma once
// A stand-in for NVIDIA's header of this name that runs device code on the processor, so that the
// very sources of evaluators/cuda are tested where there is no GPU.  Its names and macros are
// CUDA's; only what those sources use is here.
//
// A launch runs its blocks one after the other; the threads of a block are fibers that switch at
// barriers and shuffles, in ascending or descending order (emulation::reverse_order), so that a
// result that depends on the order, as with a missing barrier, shows as a difference.  A barrier
// that not all threads reach aborts.  Memory starts out as NaN.  Streams run in order, at once,
// unless they are being captured into a graph.
//
// An empty CUDA_VISIBLE_DEVICES leaves no device, as it does with CUDA.  With the name of a file in
// CUDA_EMULATION_FAULT the device faults, for the rest of the process, where it is waited for while
// the file exists; it is removed then.
//
// What it cannot show: races within a warp's instruction, the memory model, speed.  One launch at a
// time; callers on several threads wait for each other.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __constant__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

/// Threads run from the last to the first between barriers.
inline bool reverse_order = false;
/// What the pretended card has.
inline std::size_t device_memory = std::size_t{1} << 30;
/// Bytes allocated at present.
std::size_t allocated();

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread);
unsigned char* dynamic_shared();
void block_barrier();
void warp_barrier();
/// Bytes that a lane shows to its warp between two warp barriers.
unsigned char* exchange(unsigned lane);
inline constexpr std::size_t exchange_bytes = 64;

}  // namespace emulation

inline void __syncthreads() {
  emulation::block_barrier();
}
inline void __syncwarp() {
  emulation::warp_barrier();
}

template <class T>
T emulated_shuffle(T value, unsigned from) {
  const unsigned lane = threadIdx.x % 32;
  std::memcpy(emulation::exchange(lane), &value, sizeof value);
  emulation::warp_barrier();
  T other;
  std::memcpy(&other, emulation::exchange(from), sizeof other);
  emulation::warp_barrier();
  return other;
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated_shuffle(value, threadIdx.x % 32 ^ static_cast<unsigned>(mask));
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = threadIdx.x % 32;
  return emulated_shuffle(value, lane < delta ? lane : lane - delta);
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return emulated_shuffle(value, static_cast<unsigned>(from));
}

template <class T>
T atomicAdd(T* to, T value) {
  return std::exchange(*to, static_cast<T>(*to + value));
}
template <class T>
T atomicOr(T* to, T value) {
  return std::exchange(*to, static_cast<T>(*to | value));
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor
};
struct cudaDeviceProp {
  char name[256];
  int multiProcessorCount;
  int major, minor;
  std::size_t totalGlobalMem;
  int l2CacheSize;
};

struct EmulatedStream;
struct EmulatedGraph;
struct EmulatedEvent;
using cudaStream_t = EmulatedStream*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
using cudaEvent_t = EmulatedEvent*;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0;

namespace emulation {
/// Now, or when the graph that the stream is being captured into is launched.
void submit(cudaStream_t stream, std::function<void()> work);
}  // namespace emulation

const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, std::size_t) {
  *blocks = 2;
  return cudaSuccess;
}
