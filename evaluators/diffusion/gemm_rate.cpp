#include "evaluators/diffusion/gemm_rate.hpp"

#include <algorithm>
#include <chrono>

#include "evaluators/diffusion/aligned.hpp"

namespace paretod {

double measure_gemm_rate(const SimdKernels& kernels, double seconds) {
  using clock = std::chrono::steady_clock;
  constexpr std::size_t inputs = 64;
  constexpr std::size_t outputs = 16;
  constexpr int repeats = 200;
  const AlignedVector<float> weights(outputs * inputs, 0.01F);
  const AlignedVector<float> bias(outputs);
  const AlignedVector<float> input(inputs * tile_lanes, 0.5F);
  AlignedVector<float> output(outputs * tile_lanes);
  const PackedLinear layer{weights.data(), bias.data(), inputs, outputs};
  const double work = 2.0 * inputs * outputs * tile_lanes * repeats;

  double best = 0;
  const auto start = clock::now();
  for (auto now = start; std::chrono::duration<double>(now - start).count() < seconds;) {
    for (int i = 0; i < repeats; ++i) {
      kernels.linear(layer, input.data(), Epilogue::store, output.data());
    }
    const auto end = clock::now();
    best = std::max(best, work / std::chrono::duration<double>(end - now).count());
    now = end;
  }
  return best;
}

}  // namespace paretod
