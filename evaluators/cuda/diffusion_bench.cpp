// paretod-cuda-diffusion-bench MODEL.json [SECONDS]: candidates per second of the diffusion
// evaluators on the device, where the time goes, and the share of what the device could do at most.
// Prints rows as paretod-cuda-bench does.  Exits with 77 where there is no device.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "evaluators/cuda/diffusion_scorer.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

constexpr std::size_t samples = 2000;
/// Of an H100 SXM by its data sheet, float32 with ordinary units; H200 the same.
constexpr double peak_flops = 67e12;

void row(const std::string& name, double value, const std::string& unit) {
  std::printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name.c_str(), value,
              unit.c_str());
  std::fflush(stdout);
}

double flops_of(const DiffusionModel& model, const DiffusionRequest& request) {
  double flops = 0;
  for (const ScheduleNode& node : request.nodes) {
    const auto dropped =
        static_cast<std::size_t>(std::count(node.dropped.begin(), node.dropped.end(), 1));
    flops += Denoiser::flops(model.description.shape, model.description.shape.blocks - dropped);
  }
  return flops * static_cast<double>(request.samples);
}

/// Bytes that have to go through device memory for a candidate of a full batch: its share of the
/// checkpoints, its merged weights, noise, and features for moments and influences.
double bytes_of(const DiffusionModel& model, std::size_t batch) {
  const auto columns =
      static_cast<double>(model.features.outputs + model.description.shape.pixels + 1);
  const double checkpoints = static_cast<double>(model.columns.size() * model.row_bytes);
  const double merged = 2.0 * sizeof(float) * static_cast<double>(model.parameters);
  const double noise =
      sizeof(float) * static_cast<double>(samples * model.description.shape.pixels);
  return checkpoints / static_cast<double>(batch) + merged + noise +
         3.0 * sizeof(float) * static_cast<double>(samples) * columns;
}

/// Candidates around one of the model's columns (LCSC), or schedules of 2 to 6 steps with some
/// blocks left out (AutoDiffusion).
std::vector<DiffusionRequest> draw(const DiffusionModel& model, bool schedules, std::size_t count) {
  Rng rng(3);
  std::vector<DiffusionRequest> requests(count);
  for (DiffusionRequest& request : requests) {
    request.samples = samples;
    request.coefficients.assign(model.columns.size(), 0.0);
    request.coefficients.back() = 1;
    const std::size_t steps = schedules ? 2 + rng.below(5) : 5;
    if (!schedules) {
      for (std::size_t k = 0; k + 1 < request.coefficients.size(); ++k) {
        const double share = 0.02 * rng.normal();
        request.coefficients[k] += share;
        request.coefficients.back() -= share;
      }
    }
    for (const std::size_t time : uniform_times(model.description.timesteps, steps)) {
      ScheduleNode node{static_cast<double>(time), Solver::ddim, {}};
      if (schedules) {
        for (std::size_t b = 0; b < model.description.shape.blocks; ++b) {
          node.dropped.push_back(rng.bernoulli(0.25) ? 1 : 0);
        }
      }
      request.nodes.push_back(std::move(node));
    }
  }
  return requests;
}

void bench(const std::shared_ptr<const DiffusionModel>& model, bool schedules, double seconds) {
  const std::string name = schedules ? "AutoDiffusion on digits" : "LCSC on digits";
  constexpr std::size_t batch = 32;
  const std::size_t processors = std::max(std::thread::hardware_concurrency(), 1U);
  const auto requests = draw(*model, schedules, 2 * batch);
  double flops = 0;
  for (const DiffusionRequest& request : requests) flops += flops_of(*model, request);
  flops /= static_cast<double>(requests.size());

  // Two batches at a time, as the evaluator has them.
  constexpr std::size_t workers = 2;
  std::vector<DiffusionTimes> times(workers);
  const auto start = std::chrono::steady_clock::now();
  const auto since = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> rates(workers);
  std::vector<std::thread> threads;
  for (std::size_t w = 0; w < workers; ++w) {
    threads.emplace_back([&, w] {
      check(cudaSetDevice(0), "choosing the device");
      DiffusionScorer scorer(model, 0, batch, std::max<std::size_t>(processors / workers, 1));
      const auto mine = std::span(requests).subspan(w * batch, batch);
      scorer.score(mine);
      scorer.score(mine);
      const DiffusionTimes before = scorer.times();
      const double begin = since();
      std::size_t counted = 0;
      while (since() < begin + seconds) {
        scorer.score(mine);
        counted += batch;
      }
      rates[w] = static_cast<double>(counted) / (since() - begin);
      times[w] = scorer.times();
      times[w].device -= before.device;
      times[w].eigen -= before.eigen;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double rate = rates[0] + rates[1];
  const double device = times[0].device + times[1].device;
  const double eigen = times[0].eigen + times[1].eigen;
  row(name + ": candidates of 2,000 images, two batches of 32 at a time", rate, "1/s");
  row("... time in the device's part (merge, sample, moments, influence)",
      100 * device / (device + eigen), "%");
  row("... time in eigenproblems on the processor", 100 * eigen / (device + eigen), "%");
  row("... sampling done per second", rate * flops / 1e12, "TFLOP/s");
  row("... of the float32 peak by the data sheet of an H100", 100 * rate * flops / peak_flops, "%");
  row("... bytes that have to be moved, per second", rate * bytes_of(*model, batch) / 1e9, "GB/s");
}

}  // namespace
}  // namespace paretod::cuda

int main(int argc, char** argv) {
  using namespace paretod::cuda;
  if (argc < 2) {
    std::fprintf(stderr, "usage: paretod-cuda-diffusion-bench MODEL.json [SECONDS]\n");
    return 2;
  }
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "there is no CUDA device here\n");
    return 77;
  }
  try {
    const auto model = DiffusionModel::load(argv[1], true);
    if (!model) {
      std::fprintf(stderr, "%s\n", model.error().text().c_str());
      return 1;
    }
    for (const bool schedules : {false, true}) {
      bench(*model, schedules, argc > 2 ? std::strtod(argv[2], nullptr) : 3);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
