#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "evaluators/cuda/checks.hpp"
#include "evaluators/cuda/reference_merge.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/merge/merge_factors.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

/// One configuration of a merge.
struct Case {
  std::string name;
  MergeRule rule;
  PlanOptions options = {};
  Stored source = Stored::f32;
  Stored base = Stored::f32;
  Stored output = Stored::f32;
  std::size_t sources = 3;
  std::size_t candidates = 1;
  std::vector<std::size_t> sizes = {1};
  std::size_t misaligned = 0;  ///< elements that rows are shifted by
  int levels = 0;              ///< values are whole multiples of a quarter, up to so many: ties
  std::uint64_t first_element = 0;
  double apart = 0;         ///< above 0: sources are the first one and noise of this size
  bool not_finite = false;  ///< now and then infinite, not a number, subnormal, the largest, -0
};

constexpr std::uint8_t poison = 0xA5;

std::string text_of(Stored type) {
  return type == Stored::f32 ? "f32" : type == Stored::f16 ? "f16" : "bf16";
}

/// Rows of one tensor in device memory, between guards that nobody may touch.
class Rows {
 public:
  Rows(Stored type, std::size_t elements, std::size_t misaligned)
      : offset_(guard + misaligned * size_of(type)),
        bytes_(elements * size_of(type)),
        memory_(offset_ + bytes_ + guard) {}

  [[nodiscard]] std::uint8_t* data() const { return memory_.data() + offset_; }
  void fill(const Stream& stream, const std::vector<std::uint8_t>* values) {
    check(cudaMemsetAsync(memory_.data(), poison, memory_.bytes(), stream.get()), "poisoning");
    if (values != nullptr) upload(values->data(), values->size(), data(), stream.get());
    stream.synchronize();
  }
  /// What is there now; `intact`: the guards are.
  std::vector<std::uint8_t> read(const Stream& stream, bool& intact) const {
    std::vector<std::uint8_t> all(memory_.size());
    download(memory_.data(), all.size(), all.data(), stream.get());
    stream.synchronize();
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(offset_);
    const auto end = begin + static_cast<std::ptrdiff_t>(bytes_);
    const auto untouched = [](std::uint8_t byte) { return byte == poison; };
    intact = std::all_of(all.begin(), begin, untouched) && std::all_of(end, all.end(), untouched);
    return {begin, end};
  }

 private:
  static constexpr std::size_t guard = 256;
  std::size_t offset_;
  std::size_t bytes_;
  DeviceBuffer<std::uint8_t> memory_;
};

std::vector<float> draw(Rng& rng, std::size_t count, Stored type, int levels) {
  std::vector<float> values(count);
  for (float& value : values) {
    const double x = levels == 0 ? rng.normal()
                                 : 0.25 * (static_cast<double>(rng.below(2 * levels + 1)) - levels);
    value = reference_rounded(type, static_cast<float>(x));
  }
  return values;
}

void spoil(Rng& rng, std::vector<float>& values, Stored type) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  // 2^-24 is subnormal as a half, 2^-140 as the others.
  const std::array<float, 7> odd = {infinity, -infinity, nan, -nan, -0.0F, 0x1p-24F, 0x1p-140F};
  for (float& value : values) {
    if (rng.bernoulli(0.05)) value = reference_rounded(type, odd.at(rng.below(odd.size())));
  }
}

MergeCandidate draw_candidate(Rng& rng, const Case& what) {
  MergeCandidate candidate;
  candidate.seed = rng.bits64();
  for (std::size_t g = 0; g < what.rule.group_count(); ++g) {
    GroupCoefficients group;
    for (std::size_t k = 0; k < what.sources; ++k) {
      const bool positive = what.rule.method == MergeMethod::fisher;
      group.weights.push_back(rng.uniform(positive ? 0.0 : -0.5, 1.5));
      // Now and then nothing or everything.
      const double density = rng.uniform(-0.15, 1.15);
      group.densities.push_back(std::clamp(density, 0.0, 1.0));
    }
    group.lambda = rng.uniform(0.2, 1.5);
    group.t = rng.uniform(-0.2, 1.2);
    candidate.groups.push_back(std::move(group));
  }
  return candidate;
}

float widened(Stored type, const std::uint8_t* bytes) {
  if (type == Stored::f32) {
    float value;
    std::memcpy(&value, bytes, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  if (type == Stored::bf16) return std::bit_cast<float>(std::uint32_t{bits} << 16);
  const int exponent = bits >> 10 & 31;
  const float fraction = static_cast<float>(bits & 1023) / 1024;
  const float value = exponent == 0    ? std::ldexp(fraction, -14)
                      : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                       : std::ldexp(1 + fraction, exponent - 15);
  return bits >> 15 != 0 ? -value : value;
}

/// In units of the last place of the stored output, measured against the exact value and what was
/// added on the way to it.
double error_of(const Case& what, float got, double exact, double magnitude) {
  const double epsilon = what.output == Stored::f32   ? 0x1p-24
                         : what.output == Stored::f16 ? 0x1p-11
                                                      : 0x1p-8;
  const double scale = std::max(std::abs(exact) * epsilon + magnitude * 0x1p-24, 1e-30) +
                       (what.output == Stored::f16 ? 0x1p-25 : 0);
  const double error = std::abs(static_cast<double>(got) - exact) / scale;
  return std::isnan(error) ? INFINITY : error;
}

CheckResult run_case(const Case& what, std::uint64_t seed) {
  CheckResult result{what.name, 0, 0, {}};
  const Stream stream;
  Rng rng(seed, std::hash<std::string>{}(what.name));
  const bool based = traits_of(what.rule.method).uses_base && !what.options.no_base;
  std::vector<ReferenceTensor> tensors;
  std::vector<Rows> inputs;
  std::vector<std::vector<Rows>> outputs;
  std::vector<PlanTensor> plan_tensors;
  for (std::size_t t = 0; t < what.sizes.size(); ++t) {
    const std::size_t n = what.sizes[t];
    ReferenceTensor tensor{t % what.rule.group_count(),
                           tensor_name_hash("t" + std::to_string(t)),
                           what.first_element,
                           {},
                           {}};
    PlanTensor planned;
    planned.elements = n;
    planned.first_element = what.first_element;
    planned.group = tensor.group;
    planned.name_hash = tensor.name_hash;
    planned.source_type = what.source;
    planned.base_type = what.base;
    planned.output_type = what.output;
    const auto put = [&](Stored type, const std::vector<float>& values) {
      inputs.emplace_back(type, n, what.misaligned);
      const auto bytes = reference_stored(type, values);
      inputs.back().fill(stream, &bytes);
      return inputs.back().data();
    };
    if (based) {
      tensor.base = draw(rng, n, what.base, what.levels);
      planned.base = put(what.base, tensor.base);
    }
    for (std::size_t k = 0; k < what.sources; ++k) {
      tensor.sources.push_back(draw(rng, n, what.source, what.levels));
      if (what.apart > 0 && k > 0) {
        for (std::size_t i = 0; i < n; ++i) {
          float& x = tensor.sources[k][i];
          const double noise = what.apart * static_cast<double>(x);
          x = reference_rounded(
              what.source, static_cast<float>(static_cast<double>(tensor.sources[0][i]) + noise));
        }
      }
      if (what.not_finite) spoil(rng, tensor.sources[k], what.source);
      planned.sources.push_back(put(what.source, tensor.sources.back()));
    }
    if (what.rule.method == MergeMethod::fisher) {
      planned.importance_type = what.base;
      for (std::size_t k = 0; k < what.sources; ++k) {
        std::vector<float> row = draw(rng, n, what.base, what.levels);
        // Squares, and now and then none.
        for (float& f : row) f = rng.bernoulli(0.2) ? 0 : reference_rounded(what.base, f * f);
        planned.importances.push_back(put(what.base, row));
        tensor.importances.push_back(std::move(row));
      }
    }
    outputs.emplace_back();
    for (std::size_t p = 0; p < what.candidates; ++p) {
      outputs.back().emplace_back(what.output, n, what.misaligned);
      outputs.back().back().fill(stream, nullptr);
      planned.outputs.push_back(outputs.back().back().data());
    }
    tensors.push_back(std::move(tensor));
    plan_tensors.push_back(std::move(planned));
  }
  std::vector<MergeCandidate> candidates;
  for (std::size_t p = 0; p < what.candidates; ++p) candidates.push_back(draw_candidate(rng, what));

  auto plan = MergePlan::make(what.rule, what.sources, what.candidates, plan_tensors, what.options);
  if (!plan) {
    result.fault = plan.error().text();
    return result;
  }
  if (auto ran = plan->run(candidates, stream.get()); !ran) {
    result.fault = ran.error().text();
    return result;
  }
  stream.synchronize();

  const bool matrix = traits_of(what.rule.method).sparsifier == Sparsifier::none &&
                      what.options.path != CombinePath::ordinary &&
                      (what.candidates > 16 || what.options.path == CombinePath::tensor_cores);
  // On tensor cores within a few of float32's roundings; restored norms and angles may differ in
  // their last place; all else bit for bit.
  const bool close =
      matrix || what.rule.rescale == Rescale::l1 || what.rule.method == MergeMethod::slerp;
  result.limit = close ? 8 + static_cast<double>(what.sources) : 0;
  struct Output {
    std::size_t tensor = 0;
    std::size_t candidate = 0;
    std::vector<std::uint8_t> bytes = {};
    double error = 0;
    std::size_t unwritten = 0;
  };
  std::vector<Output> compared;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    for (std::size_t p = 0; p < what.candidates; ++p) {
      bool intact = false;
      compared.push_back({t, p, outputs[t][p].read(stream, intact)});
      if (!intact) result.fault = "wrote outside of an output";
    }
  }
  // On a GPU's machine this is what takes time.
  parallel_for(
      std::thread::hardware_concurrency(), compared.size(), [&](std::size_t n, std::size_t) {
        Output& output = compared[n];
        const ReferenceResult expected = reference_merge(
            what.rule, what.options, tensors[output.tensor], candidates[output.candidate]);
        const auto stored = reference_stored(what.output, expected.merged);
        for (std::size_t i = 0; i < what.sizes[output.tensor]; ++i) {
          const std::size_t size = size_of(what.output);
          const std::uint8_t* got = &output.bytes[i * size];
          if (std::memcmp(got, &stored[i * size], size) == 0) continue;
          // NaNs are of many bits.
          if (std::isnan(widened(what.output, got)) && std::isnan(expected.merged[i])) continue;
          if (std::all_of(got, got + size, [](std::uint8_t byte) { return byte == poison; })) {
            ++output.unwritten;
          }
          const double error =
              error_of(what, widened(what.output, got), expected.exact[i], expected.magnitude[i]);
          output.error = std::max(output.error, close ? error : std::max(error, 1.0));
        }
      });
  std::size_t unwritten = 0;
  for (const Output& output : compared) {
    unwritten += output.unwritten;
    result.error = std::max(result.error, output.error);
  }
  if (unwritten > 0) result.fault = std::to_string(unwritten) + " elements were not written";
  return result;
}

std::vector<Case> cases(bool large) {
  std::vector<Case> out;
  const std::vector<std::size_t> odd =
      large ? std::vector<std::size_t>{1, 3, 1023, 1024, 1025, 65'537, 0, 300'007}
            : std::vector<std::size_t>{1, 3, 0, 1023, 1025, 2'500};
  const std::vector<std::size_t> few =
      large ? std::vector<std::size_t>{70'001, 129} : std::vector<std::size_t>{1'301, 129};
  const auto grouped = [](MergeRule rule) {
    rule.groups = {{"first", {}}};
    return rule;
  };
  // Under emulation each is checked with one type of source, in turn.
  std::size_t item = 0;
  std::size_t type = 0;
  const auto add = [&](Case what) {
    if (!large && item++ % 3 != type) return;
    what.name = std::string(name_of(what.rule.method)) + ", " + what.name + ", " +
                text_of(what.source) + " to " + text_of(what.output) + ", K " +
                std::to_string(what.sources) + ", P " + std::to_string(what.candidates);
    out.push_back(std::move(what));
  };
  const MergeRule linear = MergeRule::of(MergeMethod::linear);
  const MergeRule task = MergeRule::of(MergeMethod::task_arithmetic);
  for (const Stored source : {Stored::f32, Stored::f16, Stored::bf16}) {
    item = 0;
    type = static_cast<std::size_t>(source);
    for (const Stored output : {Stored::f32, Stored::f16, Stored::bf16}) {
      add({"odd sizes", grouped(linear), {}, source, Stored::f32, output, 7, 3, odd});
      add({"base of another type", task, {}, source, Stored::bf16, output, 5, 1, odd});
    }
    for (const std::size_t candidates : {5, 16}) {
      add({"ordinary units", grouped(task), {}, source, source, Stored::f32, 9, candidates, few});
    }
    for (const std::size_t candidates : {17, 33, 64, 70}) {
      PlanOptions deltas;
      deltas.deltas = candidates == 33;
      add({deltas.deltas ? "tensor cores, deltas" : "tensor cores", grouped(task), deltas, source,
           source, Stored::f32, 13, candidates, few});
    }
    PlanOptions tensor_cores;
    tensor_cores.path = CombinePath::tensor_cores;
    add({"tensor cores for few", linear, tensor_cores, source, source, Stored::bf16, 3, 2, odd});
    add({"not aligned", task, {}, source, source, source, 5, 2, odd, 1});
    add({"not aligned, tensor cores", task, {}, source, source, source, 5, 20, few, 1});
    const MergeRule slerp = grouped(MergeRule::of(MergeMethod::slerp));
    const MergeRule fisher = grouped(MergeRule::of(MergeMethod::fisher));
    for (const Stored other : {Stored::f32, Stored::f16, Stored::bf16}) {
      add({"odd sizes", slerp, {}, source, source, other, 2, 3, odd});
      add({"importances of another type", fisher, {}, source, other, Stored::f32, 5, 6, odd});
    }
    add({"almost parallel", slerp, {}, source, source, source, 2, 5, {1, 2'000}, 0, 0, 0, 1e-3});
    add({"not aligned", slerp, {}, source, source, source, 2, 1, odd, 1});
    add({"not aligned", fisher, {}, source, source, source, 1, 1, odd, 1});
    for (const MergeMethod method :
         {MergeMethod::ties, MergeMethod::dare_linear, MergeMethod::dare_ties,
          MergeMethod::breadcrumbs, MergeMethod::breadcrumbs_ties}) {
      MergeRule rule = grouped(MergeRule::of(method));
      add({"odd sizes", rule, {}, source, source, Stored::f32, 6, 6, odd});
      add({"ties everywhere", rule, {}, source, source, source, 4, 5, odd, 0, 4});
      add({"not all finite", rule, {}, source, source, Stored::f16, 3, 5, few, 0, 0, 0, 0, true});
      rule.rescale = Rescale::l1;
      add({"restored norms", rule, {}, source, source, Stored::f32, 3, 5, few});
    }
  }
  const auto add_always = [&](Case what) {
    item = type;
    add(std::move(what));
  };
  for (const MergeMethod method : {MergeMethod::linear, MergeMethod::task_arithmetic}) {
    add_always({"not all finite",
                grouped(MergeRule::of(method)),
                {},
                Stored::f32,
                Stored::bf16,
                Stored::bf16,
                3,
                6,
                odd,
                0,
                0,
                0,
                0,
                true});
  }
  for (const MergeMethod method :
       {MergeMethod::linear, MergeMethod::ties, MergeMethod::dare_linear}) {
    add_always({"one of one",
                MergeRule::of(method),
                {},
                Stored::f16,
                Stored::f16,
                Stored::bf16,
                1,
                1,
                {1, 0, 2, 1'025}});
  }
  add_always({"nothing", linear, {}, Stored::f32, Stored::f32, Stored::f32, 2, 2, {0}});
  // More sources than shared memory has weights for, and than divide evenly.
  add_always(
      {"weights in parts", linear, {}, Stored::bf16, Stored::f32, Stored::f32, 421, 64, {129}});
  add_always(
      {"weights in parts", linear, {}, Stored::f32, Stored::f32, Stored::f32, 1'603, 16, {70}});
  PlanOptions alpha;
  alpha.keep_ties = alpha.no_base = true;
  for (const int levels : {0, 3}) {
    MergeRule rule = MergeRule::of(MergeMethod::breadcrumbs);
    rule.gamma = 0;
    add_always({levels == 0 ? "S_alpha" : "S_alpha, ties everywhere", rule, alpha, Stored::bf16,
                Stored::f32, Stored::bf16, 5, 3, odd, 0, levels});
  }
  add_always({"part of a tensor",
              MergeRule::of(MergeMethod::dare_ties),
              {},
              Stored::f16,
              Stored::f16,
              Stored::f32,
              3,
              2,
              few,
              0,
              0,
              4'096});
  if (large) {
    add_always({"large",
                MergeRule::of(MergeMethod::ties),
                {},
                Stored::bf16,
                Stored::bf16,
                Stored::bf16,
                4,
                2,
                {1'000'001}});
    add_always({"large", linear, {}, Stored::f32, Stored::f32, Stored::f32, 50, 16, {500'003}});
    add_always({"large", linear, {}, Stored::f32, Stored::f32, Stored::f32, 200, 64, {100'003}});
  } else {
    // Several parts of a selection, ties across them.
    add_always({"several parts",
                MergeRule::of(MergeMethod::ties),
                {},
                Stored::bf16,
                Stored::f32,
                Stored::f32,
                2,
                3,
                {40'003},
                0,
                2});
  }
  return out;
}

}  // namespace

std::vector<CheckResult> check_merge_kernels(bool large, std::uint64_t seed) {
  std::vector<CheckResult> results;
  for (const Case& what : cases(large)) results.push_back(run_case(what, seed));
  return results;
}

}  // namespace paretod::cuda
