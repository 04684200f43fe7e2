// How fast the schedule evaluator samples a model along uniform steps, and how fast it evaluates
// (features, distances and standard error included); and the GEMM rate of a core.
//   schedule_bench MODEL.json WEIGHTS STEPS SAMPLES THREADS REPEATS
// prints images sampled and evaluated per second of processor time (which other load does not
// distort), evaluated per second, GFLOP/s while sampling, and of GEMM: the best of the repeats.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "evaluators/diffusion/gemm_rate.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/schedule_scorer.hpp"

int main(int argc, char** argv) {
  using namespace paretod;
  if (argc != 7) return 2;
  auto scorer =
      ScheduleScorer::load(argv[1], {.weights = argv[2], .cache_bytes = 0}, simd_kernels());
  if (!scorer) {
    std::fprintf(stderr, "%s\n", scorer.error().text().c_str());
    return 1;
  }
  ScheduleRequest request;
  for (const std::size_t time :
       uniform_times(scorer->model().timesteps, std::strtoull(argv[3], nullptr, 10))) {
    request.nodes.push_back({static_cast<double>(time)});
  }
  request.samples = std::strtoull(argv[4], nullptr, 10);
  const std::size_t threads = std::strtoull(argv[5], nullptr, 10);
  const std::size_t repeats = std::strtoull(argv[6], nullptr, 10);
  const std::atomic<bool> never = false;
  const auto processor_seconds = [](const auto& work) {
    const std::clock_t start = std::clock();
    work();
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };

  scorer->images(request, threads);  // draws the noise, which is kept
  const auto images = static_cast<double>(request.samples);
  double sampled = 0;
  double evaluated = 0;
  double wall = 0;
  double gemm = 0;
  for (std::size_t i = 0; i < repeats; ++i) {
    sampled =
        std::max(sampled, images / processor_seconds([&] { scorer->images(request, threads); }));
    const auto start = std::chrono::steady_clock::now();
    evaluated = std::max(evaluated, images / processor_seconds([&] {
                                      scorer->score({&request, 1}, threads, never);
                                    }));
    wall = std::max(
        wall,
        images / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    gemm = std::max(gemm, measure_gemm_rate(simd_kernels(), 0.03));
  }
  const double flops = 2 * scorer->cost(request).multiply_adds;
  std::printf("%.1f %.1f %.1f %.2f %.2f\n", sampled, evaluated, wall, sampled * flops / 1e9,
              gemm / 1e9);
  return 0;
}
