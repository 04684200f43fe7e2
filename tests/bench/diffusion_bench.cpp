// Seconds of one evaluation of the digits model (n = 2,000, 5 steps) and its share of the
// machine's single-core GEMM rate.
//   diffusion_bench MODEL.json THREADS REPEATS     prints: seconds gflops gemm_gflops

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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
  std::vector<double> seconds;
  std::vector<double> rates;
  scorer->score({&request, 1}, threads, never);  // draws the noise, which is kept
  for (std::size_t i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    scorer->score({&request, 1}, threads, never);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    seconds.push_back(elapsed.count());
    rates.push_back(measure_gemm_rate(simd_kernels(), 0.05));
  }
  std::sort(seconds.begin(), seconds.end());
  std::sort(rates.begin(), rates.end());
  const double median = seconds[repeats / 2];
  std::printf("%.6f %.2f %.2f\n", median, scorer->flops(request.samples) / median / 1e9,
              rates[repeats / 2] / 1e9);
  return 0;
}
