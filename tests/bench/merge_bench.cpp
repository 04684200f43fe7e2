// What scripts/bench-merge asks of the merge engine, in memory: bytes per second beside the
// machine's own ceilings in the same rounds, and what a batch saves.  Prints one line of JSON.
//
//   merge_bench FOLDER THREADS ELEMENTS   (of float32; models are made in FOLDER and stay there)

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
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

constexpr std::size_t least_rounds = 7;
constexpr double measured_s = 2;

/// On a machine that others use the clock says little, so processor time counts, shared by the
/// threads; they wait passively and are busy with the same amount of work, so that undisturbed it
/// is the time that passes.
double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Works that take turns, so that whatever slows the machine down meets all of them.
class Rounds {
 public:
  explicit Rounds(std::size_t threads) : threads_(static_cast<double>(threads)) {}

  /// `bytes`: that the work reads and writes.
  void add(std::string name, double bytes, std::function<void()> work) {
    turns_.push_back({std::move(name), bytes, std::move(work), {}});
  }
  void run() {
    for (const Turn& turn : turns_) turn.work();  // warms everything
    double spent = 0;
    while (turns_[0].seconds.size() < least_rounds || spent < measured_s) {
      for (Turn& turn : turns_) {
        const double start = processor_s();
        turn.work();
        turn.seconds.push_back((processor_s() - start) / threads_);
        spent += turn.seconds.back();
      }
    }
  }
  [[nodiscard]] double seconds(const std::string& name) const { return median(of(name).seconds); }
  [[nodiscard]] double rate(const std::string& name) const {
    return of(name).bytes / seconds(name);
  }
  /// Median over the rounds of the ratio of two rates.
  [[nodiscard]] double share(const std::string& name, const std::string& other) const {
    const Turn& a = of(name);
    const Turn& b = of(other);
    std::vector<double> ratios;
    for (std::size_t i = 0; i < a.seconds.size(); ++i) {
      ratios.push_back(a.bytes / a.seconds[i] / (b.bytes / b.seconds[i]));
    }
    return median(ratios);
  }

 private:
  struct Turn {
    std::string name;
    double bytes = 0;
    std::function<void()> work;
    std::vector<double> seconds;
  };
  [[nodiscard]] const Turn& of(const std::string& name) const {
    return *std::find_if(turns_.begin(), turns_.end(),
                         [&](const Turn& turn) { return turn.name == name; });
  }

  double threads_;
  std::vector<Turn> turns_;
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

/// What the machine gives to plain loops over plain memory: memcpy; a = b + s c (McCalpin's STREAM
/// triad) and weighted sums of as many arrays as a merge reads, as the compiler writes them.
class Ceilings {
 public:
  static constexpr std::size_t most = 5;

  Ceilings(std::size_t threads, std::size_t elements) : threads_(threads), to_(elements, 0) {
    for (std::size_t k = 0; k < most; ++k) from_.emplace_back(elements, static_cast<float>(k));
  }
  void add_to(Rounds& rounds) {
    const double bytes = static_cast<double>(to_.size() * sizeof(float));
    rounds.add("copy", 2 * bytes, [this] {
      in_parts(threads_, to_.size(), [&](std::size_t begin, std::size_t count) {
        std::memcpy(&to_[begin], &from_[0][begin], count * sizeof(float));
      });
    });
    rounds.add("triad", 3 * bytes, [this] { loop(triad); });
    rounds.add("loop_2", 3 * bytes, [this] { loop(sum_2); });
    rounds.add("loop_4", 5 * bytes, [this] { loop(sum_4); });
    rounds.add("loop_5", 6 * bytes, [this] { loop(sum_5); });
  }

 private:
  using Loop = void(float* a, const float* const* b, std::size_t n);
  static Loop triad;
  static Loop sum_2;
  static Loop sum_4;
  static Loop sum_5;

  void loop(Loop* body) {
    in_parts(threads_, to_.size(), [&](std::size_t begin, std::size_t count) {
      const float* from[most];
      for (std::size_t k = 0; k < most; ++k) from[k] = &from_[k][begin];
      body(&to_[begin], from, count);
    });
  }

  std::size_t threads_;
  AlignedVector<float> to_;
  std::vector<AlignedVector<float>> from_;
};

__attribute__((optimize("O3"), target("avx2,fma"))) void Ceilings::triad(float* a,
                                                                         const float* const* from,
                                                                         std::size_t n) {
  const float* b = from[0];
  const float* c = from[1];
  for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + 3.0F * c[i];
}
__attribute__((optimize("O3"), target("avx2,fma"))) void Ceilings::sum_2(float* a,
                                                                         const float* const* from,
                                                                         std::size_t n) {
  const float* b = from[0];
  const float* c = from[1];
  for (std::size_t i = 0; i < n; ++i) a[i] = 0.1F * b[i] + 0.2F * c[i];
}
__attribute__((optimize("O3"), target("avx2,fma"))) void Ceilings::sum_4(float* a,
                                                                         const float* const* from,
                                                                         std::size_t n) {
  const float* b = from[0];
  const float* c = from[1];
  const float* d = from[2];
  const float* e = from[3];
  for (std::size_t i = 0; i < n; ++i) {
    a[i] = 0.1F * b[i] + 0.2F * c[i] + 0.3F * d[i] + 0.4F * e[i];
  }
}
__attribute__((optimize("O3"), target("avx2,fma"))) void Ceilings::sum_5(float* a,
                                                                         const float* const* from,
                                                                         std::size_t n) {
  const float* b = from[0];
  const float* c = from[1];
  const float* d = from[2];
  const float* e = from[3];
  const float* f = from[4];
  for (std::size_t i = 0; i < n; ++i) {
    a[i] = 0.1F * b[i] + 0.2F * c[i] + 0.3F * d[i] + 0.4F * e[i] + 0.5F * f[i];
  }
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
  merge_kernels().narrow(dtype == DType::bf16 ? StoredFloat::bf16 : StoredFloat::f32, values.data(),
                         values.size(), bytes.data(), false);
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
  const std::string kind =
      folder + "/" + std::string(name_of(dtype)) + "-" + std::to_string(elements) + "-";
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

void merge(Setup& setup, const std::vector<MergeCandidate>& batch, MemoryOutput& output) {
  const auto merged = setup.engine->merge(batch, output);
  if (merged) return;
  std::fprintf(stderr, "%s\n", merged.error().text().c_str());
  std::exit(1);
}

/// One candidate merged into memory.
struct Single {
  const char* name;
  MergeMethod method;
  DType dtype;
  std::size_t sources;
  const char* loop = nullptr;  ///< the plain loop over as many arrays
};
constexpr Single singles[] = {
    {"linear_f32_2", MergeMethod::linear, DType::f32, 2, "loop_2"},
    {"linear_f32_4", MergeMethod::linear, DType::f32, 4, "loop_4"},
    {"task_f32_4", MergeMethod::task_arithmetic, DType::f32, 4, "loop_5"},
    {"linear_bf16_4", MergeMethod::linear, DType::bf16, 4},
    {"ties_bf16_4", MergeMethod::ties, DType::bf16, 4},
    {"dare_bf16_4", MergeMethod::dare_linear, DType::bf16, 4},
};

void measure_singles(const std::string& folder, std::size_t threads, std::uint64_t elements) {
  Ceilings ceilings(threads, elements);
  Rounds rounds(threads);
  ceilings.add_to(rounds);
  std::vector<Setup> setups;
  std::vector<MemoryOutput> outputs;
  setups.reserve(std::size(singles));
  outputs.reserve(std::size(singles));
  for (const Single& single : singles) {
    Setup& setup = setups.emplace_back(set_up(folder, MergeRule::of(single.method), single.dtype,
                                              single.sources, elements, threads));
    MemoryOutput& output = outputs.emplace_back(setup.sources->layouts(), 1);
    const auto bytes = setup.sources->input_bytes() + setup.sources->output_bytes();
    rounds.add(single.name, static_cast<double>(bytes),
               [&setup, &output, batch = candidates(1, single.sources, 0.5)] {
                 merge(setup, batch, output);
               });
  }
  rounds.run();
  for (const char* name : {"copy", "triad", "loop_2", "loop_4", "loop_5"}) {
    std::printf(",\"%s\":%.4g", name, rounds.rate(name));
  }
  for (const Single& single : singles) {
    std::printf(",\"%s\":{\"rate\":%.4g,\"of_copy\":%.4g,\"of_triad\":%.4g", single.name,
                rounds.rate(single.name), rounds.share(single.name, "copy"),
                rounds.share(single.name, "triad"));
    if (single.loop != nullptr) {
      std::printf(",\"of_loop\":%.4g", rounds.share(single.name, single.loop));
    }
    std::printf("}");
  }
}

/// A population of 16 from 50 checkpoints: in one pass, and one candidate at a time.
void measure_batch(const std::string& folder, std::size_t threads, std::uint64_t elements) {
  constexpr std::size_t sources = 50;
  constexpr std::size_t population = 16;
  constexpr std::size_t alone = 4;
  Setup together =
      set_up(folder, MergeRule::of(MergeMethod::linear), DType::f32, sources, elements, threads);
  Setup single =
      set_up(folder, MergeRule::of(MergeMethod::linear), DType::f32, sources, elements, threads);
  MemoryOutput output(together.sources->layouts(), population);
  MemoryOutput one(single.sources->layouts(), 1);
  const auto batch = candidates(population, sources, 1);
  Rounds rounds(threads);
  rounds.add("batch", 1, [&] { merge(together, batch, output); });
  rounds.add("loop", 1, [&] {
    for (std::size_t p = 0; p < alone; ++p) merge(single, {batch[p]}, one);
  });
  rounds.run();
  const double times = rounds.share("batch", "loop") * population / alone;
  std::printf(",\"batch_s\":%.4g,\"batch_times\":%.4g", rounds.seconds("batch"), times);
}

int run(const std::string& folder, std::size_t threads, std::uint64_t elements) {
  std::printf("{\"engine\":\"cpu %s\",\"threads\":%zu", merge_kernels().name, threads);
  measure_singles(folder, threads, elements);
  measure_batch(folder, threads, elements / 16);
  std::printf(",\"elements\":%llu}\n", static_cast<unsigned long long>(elements));
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
