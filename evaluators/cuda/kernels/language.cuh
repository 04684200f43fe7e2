#pragma once
// The few places where device code for nvcc and for the emulation on the processor
// (tests/support/cuda_emulation) differ, besides what that header stands in for.

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "evaluators/cuda/device.hpp"

namespace paretod::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

/// Launches a kernel and throws what is wrong with the launch; what goes wrong in it shows at the
/// next synchronisation.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
            Arguments... arguments) {
#ifdef __CUDACC__
  kernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(Parameters(arguments)...);
#else
  emulation::submit(stream, [=] {
    emulation::run(shape.grid, shape.block, shape.shared_bytes, [&] { kernel(arguments...); });
  });
#endif
  check(cudaGetLastError(), "launching a kernel");
}

/// Lets a kernel use so much dynamic shared memory: more than 48 KiB has to be asked for.  Holds
/// for the process, so that threads which launch the same kernel have to ask for the same.
template <class Kernel>
void allow_shared(Kernel* kernel, std::size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "asking for shared memory");
}

/// The launch's dynamic shared memory, aligned to 16 bytes.
__device__ __forceinline__ unsigned char* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
#else
  return emulation::dynamic_shared();
#endif
}

__host__ __device__ __forceinline__ std::uint32_t bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  return std::bit_cast<std::uint32_t>(value);
#endif
}
__host__ __device__ __forceinline__ float float_of(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

/// The upper half of a product.
__host__ __device__ __forceinline__ std::uint32_t high_product(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  return __umulhi(a, b);
#else
  return static_cast<std::uint32_t>((std::uint64_t{a} * b) >> 32);
#endif
}

}  // namespace paretod::cuda
