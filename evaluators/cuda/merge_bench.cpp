// paretod-cuda-bench: how fast merges are on the device that is there.  Prints a JSON object per
// line: name, value, unit and, where there is one, the least it should be; scripts/bench-cuda makes
// a table of them.  Exits with 77 where there is no device.
//
// Rates are bytes that have to be moved (each source read once per pass, each result written once)
// over time by device events, the median of several runs after some to warm up, beside the rate of
// a copy on the same device, bytes read and written.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "evaluators/cuda/merge_plan.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

/// What a run may allocate on the device, unless an argument says otherwise.
constexpr std::uint64_t usual_bytes = std::uint64_t{24} << 30;
constexpr int warm_ups = 3;
constexpr int repeats = 15;
/// Times that work is put on the stream between two events, so that what the host does for one run
/// is done while the device is at the one before, as in a search.
constexpr int runs = 4;

void row(const std::string& name, double value, const std::string& unit, double at_least = 0) {
  std::printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"", name.c_str(), value,
              unit.c_str());
  if (at_least > 0) std::printf(", \"at_least\": %g", at_least);
  std::printf("}\n");
  std::fflush(stdout);
}

/// Median seconds of what `work` puts on the stream once.
double seconds_of(const Stream& stream, const std::function<void()>& work) {
  std::vector<float> times;
  for (int i = 0; i < warm_ups + repeats; ++i) {
    const Event start(true);
    const Event end(true);
    start.record(stream.get());
    for (int run = 0; run < runs; ++run) work();
    end.record(stream.get());
    stream.synchronize();
    if (i >= warm_ups) times.push_back(end.milliseconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return static_cast<double>(times[repeats / 2]) / 1000 / runs;
}

/// Device memory full of numbers: one random block over and over.
class Arena {
 public:
  Arena(std::uint64_t bytes, const Stream& stream) : memory_(bytes) {
    constexpr std::size_t block = std::size_t{32} << 20;
    std::vector<std::uint16_t> numbers(block / 2);
    Rng rng(1);
    for (std::uint16_t& number : numbers) {
      // As float32, bfloat16 or half of magnitude around one.
      number = static_cast<std::uint16_t>(0x3000 + (rng.bits32() & 0x8FFF));
    }
    for (std::uint64_t at = 0; at < bytes; at += block) {
      upload(reinterpret_cast<const std::uint8_t*>(numbers.data()),
             std::min<std::uint64_t>(block, bytes - at), memory_.data() + at, stream.get());
    }
    stream.synchronize();
  }
  [[nodiscard]] std::uint8_t* data() const { return memory_.data(); }
  [[nodiscard]] std::uint64_t bytes() const { return memory_.bytes(); }

 private:
  DeviceBuffer<std::uint8_t> memory_;
};

double copy_rate(const Arena& arena, const Stream& stream) {
  const std::uint64_t half = std::min<std::uint64_t>(arena.bytes() / 2, std::uint64_t{4} << 30);
  const double seconds = seconds_of(stream, [&] {
    check(cudaMemcpyAsync(arena.data() + half, arena.data(), half, cudaMemcpyDeviceToDevice,
                          stream.get()),
          "copying");
  });
  return 2 * static_cast<double>(half) / seconds;
}

struct Case {
  std::string name;
  MergeRule rule;
  Stored source = Stored::f32;
  Stored output = Stored::f32;
  std::size_t sources = 1;
  std::size_t candidates = 1;
  std::size_t tensors = 1;
  std::uint64_t elements = 0;  ///< of one tensor; 0: as many as the arena takes
  double density = 1;
  PlanOptions options = {};
  double at_least = 0;  ///< percent of the copy rate
};

std::string text_of(Stored type) {
  return type == Stored::f32 ? "f32" : type == Stored::f16 ? "f16" : "bf16";
}

void run(const Case& what, const Arena& arena, const Stream& stream, double copy) {
  const bool based = traits_of(what.rule.method).uses_base && !what.options.no_base;
  const std::uint64_t in = size_of(what.source);
  const std::uint64_t out = size_of(what.output);
  const std::uint64_t per_element = (what.sources + (based ? 1 : 0)) * in + what.candidates * out;
  const std::uint64_t most =
      std::min<std::uint64_t>(arena.bytes() / per_element / what.tensors, 0xF0000000ULL);
  const std::uint64_t elements =
      what.elements > 0 ? std::min(what.elements, most) : most / tile_elements * tile_elements;
  std::uint8_t* at = arena.data();
  const auto take = [&](std::uint64_t size) {
    std::uint8_t* memory = at;
    at += elements * size / 16 * 16;
    return memory;
  };
  std::vector<PlanTensor> tensors;
  for (std::size_t t = 0; t < what.tensors; ++t) {
    PlanTensor tensor;
    tensor.elements = elements / 16 * 16;
    tensor.name_hash = t;
    tensor.source_type = tensor.base_type = what.source;
    tensor.output_type = what.output;
    if (based) tensor.base = take(in);
    for (std::size_t k = 0; k < what.sources; ++k) tensor.sources.push_back(take(in));
    for (std::size_t p = 0; p < what.candidates; ++p) tensor.outputs.push_back(take(out));
    tensors.push_back(std::move(tensor));
  }
  Rng rng(2);
  std::vector<MergeCandidate> candidates(what.candidates);
  for (MergeCandidate& candidate : candidates) {
    GroupCoefficients group;
    for (std::size_t k = 0; k < what.sources; ++k) {
      group.weights.push_back(rng.uniform(0.1, 1));
      group.densities.push_back(what.density);
    }
    candidate.groups.push_back(std::move(group));
  }
  auto plan = MergePlan::make(what.rule, what.sources, what.candidates, tensors, what.options);
  if (!plan) {
    std::fprintf(stderr, "%s: %s\n", what.name.c_str(), plan.error().text().c_str());
    return;
  }
  int turn = 0;
  const double seconds = seconds_of(stream, [&] {
    // Thresholds are kept from run to run where densities stay: a search over densities asks anew.
    for (MergeCandidate& candidate : candidates) {
      for (double& density : candidate.groups[0].densities) {
        if (what.density < 1) density = what.density + 1e-3 * (turn % 7);
      }
    }
    ++turn;
    if (const auto done = plan->run(candidates, stream.get()); !done) {
      throw std::runtime_error(done.error().text());
    }
  });
  const double bytes =
      static_cast<double>(plan->passes(what.candidates)) *
          static_cast<double>(plan->input_bytes()) +
      static_cast<double>(what.candidates) * static_cast<double>(plan->output_bytes());
  const std::string name = what.name + ", " + text_of(what.source) + " to " + text_of(what.output) +
                           ", K " + std::to_string(what.sources) + ", P " +
                           std::to_string(what.candidates);
  row(name, bytes / seconds / 1e9, "GB/s");
  row(name + ": of the copy rate", 100 * bytes / seconds / copy, "%", what.at_least);
  row(name + ": candidates", static_cast<double>(what.candidates) / seconds, "1/s");
}

std::vector<Case> cases() {
  const MergeRule linear = MergeRule::of(MergeMethod::linear);
  const MergeRule task = MergeRule::of(MergeMethod::task_arithmetic);
  constexpr Stored f32 = Stored::f32;
  constexpr Stored bf16 = Stored::bf16;
  PlanOptions ordinary;
  ordinary.path = CombinePath::ordinary;
  PlanOptions matrix;
  matrix.path = CombinePath::tensor_cores;
  PlanOptions alpha;
  alpha.keep_ties = alpha.no_base = true;
  MergeRule s_alpha = MergeRule::of(MergeMethod::breadcrumbs);
  s_alpha.gamma = 0;
  return {
      {"single linear", linear, f32, f32, 2, 1, 1, 0, 1, {}, 90},
      {"single linear", linear, bf16, bf16, 2, 1, 1, 0, 1, {}, 90},
      {"single linear", linear, f32, f32, 8, 1, 1, 0, 1, {}, 90},
      {"single linear", linear, bf16, bf16, 8, 1, 1, 0, 1, {}, 90},
      {"single task arithmetic, 290 tensors", task, bf16, bf16, 4, 1, 290, 1'000'000, 1, {}, 90},
      {"batched linear", linear, f32, f32, 50, 16, 1, 0, 1, {}, 85},
      {"batched linear", linear, bf16, f32, 50, 16, 1, 0, 1, {}, 85},
      {"batched linear, on tensor cores", linear, f32, f32, 50, 16, 1, 0, 1, matrix, 0},
      {"batched linear", linear, f32, f32, 200, 64, 1, 0, 1, {}, 85},
      {"batched linear", linear, bf16, f32, 200, 64, 1, 0, 1, {}, 85},
      {"batched linear, on ordinary units", linear, f32, f32, 200, 64, 1, 0, 1, ordinary, 0},
      {"ties, thresholds included",
       MergeRule::of(MergeMethod::ties),
       bf16,
       bf16,
       8,
       1,
       8,
       0,
       0.2,
       {},
       0},
      {"dare_linear", MergeRule::of(MergeMethod::dare_linear), bf16, bf16, 8, 1, 1, 0, 0.2, {}, 0},
      {"S_alpha of 224 adapter factors 8 x 4096, thresholds included", s_alpha, bf16, bf16, 100, 20,
       224, 32'768, 0.5, alpha, 0},
  };
}

int bench(std::uint64_t most_bytes) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "asking for the device's properties");
  std::printf("{\"device\": \"%s\"}\n", properties.name);
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  const Stream stream;
  const Arena arena(std::min<std::uint64_t>(most_bytes, free - free / 5), stream);
  const double copy = copy_rate(arena, stream);
  row("copy on the device, read and written", copy / 1e9, "GB/s");
  for (const Case& what : cases()) run(what, arena, stream, copy);
  return 0;
}

}  // namespace
}  // namespace paretod::cuda

int main(int argc, char** argv) {
  using namespace paretod::cuda;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "there is no CUDA device here\n");
    return 77;
  }
  const std::uint64_t most = argc > 1 ? std::strtoull(argv[1], nullptr, 10) << 20 : usual_bytes;
  try {
    return bench(most);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
