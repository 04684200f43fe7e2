// What scripts/bench-merge asks of the merge engine, in memory: bytes per second beside the
// machine's own ceiling in the same run, and what a batch saves.  Prints one line of JSON.
//
//   merge_bench FOLDER THREADS ELEMENTS   (of float32; models are made in FOLDER and stay there)

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "adapters/safetensors/model_files.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_kernels.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr int least_repeats = 5;
constexpr double measured_s = 1;

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The best of as many runs as fit into a few seconds.  On a machine that others use the clock says
/// little, so processor time counts, shared by the threads; they wait passively and are busy with
/// the same amount of work, so that undisturbed it is the time that passes.
class Stopwatch {
 public:
  explicit Stopwatch(std::size_t threads) : threads_(static_cast<double>(threads)) {}

  template <class Work>
  double best(Work work) const {
    double best = 1e300;
    double spent = 0;
    for (int i = 0; i < least_repeats || spent < measured_s; ++i) {
      const double start = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
      work();
      const double took = (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - start) / threads_;
      best = std::min(best, took);
      spent += took;
    }
    return best;
  }

 private:
  double threads_;
};

/// Splits [0, count) evenly over the threads.
template <class Work>
void in_parts(std::size_t threads, std::size_t count, Work work) {
  const std::size_t part = (count + threads - 1) / threads / 64 * 64 + 64;
  parallel_for(threads, threads, [&](std::size_t i, std::size_t) {
    const std::size_t begin = std::min(i * part, count);
    work(begin, std::min(part, count - begin));
  });
}

struct Ceiling {
  double copy = 0;   ///< bytes/s of memcpy, read and written
  double triad = 0;  ///< bytes/s of a = b + s c (McCalpin's STREAM), as the compiler writes it
};

__attribute__((optimize("O3"), target("avx2,fma"))) void triad(float* a, const float* b,
                                                               const float* c, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + 3.0F * c[i];
}

Ceiling measure_ceiling(std::size_t threads, std::size_t elements) {
  AlignedVector<float> a(elements, 0);
  AlignedVector<float> b(elements, 1);
  AlignedVector<float> c(elements, 2);
  const double bytes = static_cast<double>(elements * sizeof(float));
  Ceiling ceiling;
  ceiling.copy = 2 * bytes / Stopwatch(threads).best([&] {
    in_parts(threads, elements, [&](std::size_t begin, std::size_t count) {
      std::memcpy(&a[begin], &b[begin], count * sizeof(float));
    });
  });
  ceiling.triad = 3 * bytes / Stopwatch(threads).best([&] {
    in_parts(threads, elements, [&](std::size_t begin, std::size_t count) {
      triad(&a[begin], &b[begin], &c[begin], count);
    });
  });
  return ceiling;
}

void make_model(const std::string& folder, DType dtype, std::uint64_t elements,
                std::uint64_t seed) {
  if (std::filesystem::exists(folder + "/model.safetensors")) return;
  std::filesystem::create_directories(folder);
  // A few tensors, as models have.
  const std::uint64_t rows = 8;
  std::vector<TensorLayout> layout;
  for (std::uint64_t i = 0; i < rows; ++i) {
    layout.push_back({"layer." + std::to_string(i), dtype, {elements / rows}});
  }
  auto writer = SafetensorsWriter::create(folder, layout, std::uint64_t{1} << 40, {});
  if (!writer) std::abort();
  std::vector<float> values(1 << 16);
  Rng rng(seed);
  for (float& x : values) x = static_cast<float>(rng.normal());
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  merge_kernels().narrow(dtype == DType::bf16 ? StoredFloat::bf16 : StoredFloat::f32,
                         values.data(), values.size(), bytes.data(), false);
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::uint64_t at = 0; at < layout[t].bytes(); at += bytes.size()) {
      const auto some = std::min<std::uint64_t>(bytes.size(), layout[t].bytes() - at);
      if (!writer->write(t, at, std::span(bytes).first(some))) std::abort();
    }
  }
  if (!writer->commit()) std::abort();
}

struct Setup {
  std::shared_ptr<const MergeSources> sources;
  std::unique_ptr<MergeEngine> engine;
};

Setup set_up(const std::string& folder, const MergeRule& rule, DType dtype, std::size_t sources,
             std::uint64_t elements, std::size_t threads) {
  MergePaths paths;
  const std::string kind = folder + "/" + std::string(name_of(dtype)) + "-" +
                           std::to_string(elements) + "-";
  for (std::size_t k = 0; k <= sources; ++k) {
    const bool base = k == sources;
    if (base && !traits_of(rule.method).uses_base) continue;
    const std::string path = kind + std::to_string(k);
    make_model(path, dtype, elements, k);
    if (base) {
      paths.base = path;
    } else {
      paths.sources.push_back({"m" + std::to_string(k), path});
    }
  }
  auto opened = MergeSources::open(paths, rule);
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().text().c_str());
    std::exit(1);
  }
  Setup setup;
  setup.sources = std::make_shared<const MergeSources>(std::move(*opened));
  auto engine = cpu_merge_engine(setup.sources, rule, {threads, std::uint64_t{16} << 30, 0});
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().text().c_str());
    std::exit(1);
  }
  setup.engine = std::move(*engine);
  return setup;
}

std::vector<MergeCandidate> candidates(std::size_t count, std::size_t sources, double density) {
  Rng rng(5);
  std::vector<MergeCandidate> out(count);
  for (MergeCandidate& candidate : out) {
    GroupCoefficients group;
    for (std::size_t k = 0; k < sources; ++k) {
      group.weights.push_back(rng.uniform(0.1, 1));
      group.densities.push_back(density);
    }
    candidate.groups.push_back(std::move(group));
  }
  return out;
}

/// Seconds of one merge of `count` candidates into memory, after one that warms everything.
double merge_seconds(Setup& setup, std::size_t threads, const std::vector<MergeCandidate>& batch,
                     MemoryOutput& output) {
  const auto run = [&] {
    const auto merged = setup.engine->merge(batch, output);
    if (!merged) {
      std::fprintf(stderr, "%s\n", merged.error().text().c_str());
      std::exit(1);
    }
  };
  run();
  return Stopwatch(threads).best(run);
}

double single_rate(const std::string& folder, MergeMethod method, DType dtype, std::size_t sources,
                   std::uint64_t elements, std::size_t threads) {
  Setup setup = set_up(folder, MergeRule::of(method), dtype, sources, elements, threads);
  MemoryOutput output(setup.sources->layouts(), 1);
  const double seconds = merge_seconds(setup, threads, candidates(1, sources, 0.5), output);
  const auto bytes = setup.sources->input_bytes() + setup.sources->output_bytes();
  return static_cast<double>(bytes) / seconds;
}

int run(const std::string& folder, std::size_t threads, std::uint64_t elements) {
  const Ceiling ceiling = measure_ceiling(threads, elements);
  std::printf("{\"engine\":\"cpu %s\",\"threads\":%zu,\"copy\":%.4g,\"triad\":%.4g",
              merge_kernels().name, threads, ceiling.copy, ceiling.triad);
  const auto report = [&](const char* name, double rate) {
    std::printf(",\"%s\":%.4g", name, rate);
    std::fflush(stdout);
  };
  report("linear_f32_2", single_rate(folder, MergeMethod::linear, DType::f32, 2, elements, threads));
  report("linear_f32_4", single_rate(folder, MergeMethod::linear, DType::f32, 4, elements, threads));
  report("task_f32_4",
         single_rate(folder, MergeMethod::task_arithmetic, DType::f32, 4, elements, threads));
  report("linear_bf16_4",
         single_rate(folder, MergeMethod::linear, DType::bf16, 4, elements, threads));
  report("ties_bf16_4", single_rate(folder, MergeMethod::ties, DType::bf16, 4, elements, threads));
  report("dare_bf16_4",
         single_rate(folder, MergeMethod::dare_linear, DType::bf16, 4, elements, threads));

  // A population of 16 from 50 checkpoints: in one pass, and one candidate at a time.
  constexpr std::size_t sources = 50;
  constexpr std::size_t population = 16;
  Setup setup = set_up(folder, MergeRule::of(MergeMethod::linear), DType::f32, sources,
                       elements / 16, threads);
  MemoryOutput output(setup.sources->layouts(), population);
  const auto batch = candidates(population, sources, 1);
  const double together = merge_seconds(setup, threads, batch, output);
  MemoryOutput one(setup.sources->layouts(), 1);
  double alone = 0;
  for (std::size_t p = 0; p < population; p += 4) {
    alone += 4 * merge_seconds(setup, threads, {batch[p]}, one);
  }
  std::printf(",\"batch_s\":%.4g,\"loop_s\":%.4g,\"elements\":%llu}\n", together, alone,
              static_cast<unsigned long long>(elements));
  return 0;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: merge_bench FOLDER THREADS ELEMENTS\n");
    return 2;
  }
  return paretod::run(argv[1], std::strtoul(argv[2], nullptr, 10),
                      std::strtoull(argv[3], nullptr, 10));
}
