// Processor seconds and wall seconds of one evaluation of the digits model (n = 2,000, 5 steps),
// and the machine's single-core GEMM rate.  Processor time is what other load does not distort.
//   diffusion_bench MODEL.json THREADS REPEATS     prints: cpu_s wall_s gflop gemm_gflops

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "evaluators/diffusion/checkpoint_scorer.hpp"
#include "evaluators/diffusion/gemm_rate.hpp"

int main(int argc, char** argv) {
  using namespace paretod;
  if (argc != 4) return 2;
  const std::size_t threads = std::strtoull(argv[2], nullptr, 10);
  const std::size_t repeats = std::strtoull(argv[3], nullptr, 10);
  auto scorer = CheckpointScorer::load(argv[1], {}, simd_kernels());
  if (!scorer) {
    std::fprintf(stderr, "%s\n", scorer.error().text().c_str());
    return 1;
  }
  ScoreRequest request;
  request.coefficients.assign(scorer->columns().size(),
                              1.0 / static_cast<double>(scorer->columns().size()));
  const std::atomic<bool> never = false;
  std::vector<double> cpu;
  std::vector<double> wall;
  std::vector<double> rates;
  scorer->score({&request, 1}, threads, never);  // draws the noise, which is kept
  for (std::size_t i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    scorer->score({&request, 1}, threads, never);
    cpu.push_back(static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    wall.push_back(elapsed.count());
    rates.push_back(measure_gemm_rate(simd_kernels(), 0.05));
  }
  for (auto* values : {&cpu, &wall, &rates}) std::sort(values->begin(), values->end());
  std::printf("%.6f %.6f %.3f %.2f\n", cpu[repeats / 2], wall[repeats / 2],
              scorer->flops(request.samples) / 1e9, rates[repeats / 2] / 1e9);
  return 0;
}
