#include "evaluators/llm/lora_merge.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace paretod {
namespace {

/// One module of the result, with the adapters that have it.
struct Part {
  std::size_t adapter;
  const LoraModule* module;
};

Error misfit(const LoraModule& module, const std::string& what) {
  return invalid("adapters cannot be merged: module \"" + module.name + "\" " + what);
}

/// Per module, in the order in which they first appear, its parts in the order of the pool.
Result<std::vector<std::vector<Part>>> parts_of(std::span<const LoraAdapter> pool,
                                                std::size_t terms) {
  if (pool.empty() || pool.size() != terms) {
    return invalid("a merge needs as many terms as adapters, and at least one");
  }
  std::vector<std::vector<Part>> all;
  for (std::size_t i = 0; i < pool.size(); ++i) {
    for (const LoraModule& module : pool[i].modules) {
      if (module.a.size() != module.rank * module.inputs ||
          module.b.size() != module.outputs * module.rank || module.rank == 0) {
        return misfit(module, "of adapter " + std::to_string(i) + " has tensors of another shape");
      }
      const auto found = std::find_if(all.begin(), all.end(), [&](const auto& parts) {
        return parts.front().module->name == module.name;
      });
      if (found == all.end()) {
        all.push_back({{i, &module}});
        continue;
      }
      const LoraModule& first = *found->front().module;
      if (first.inputs != module.inputs || first.outputs != module.outputs) {
        return misfit(module, "has another size in adapter " + std::to_string(i) +
                                  ": all have to be of one base model");
      }
      found->push_back({i, &module});
    }
  }
  return all;
}

/// What remains of an adapter's scale once the first one's is taken out.
double relative_scale(std::span<const LoraAdapter> pool, std::size_t adapter) {
  return pool[adapter].scale == pool[0].scale ? 1 : pool[adapter].scale / pool[0].scale;
}

}  // namespace

std::size_t kept_entries(double keep, std::size_t count) {
  if (!(keep > 0) || count == 0) return 0;
  if (keep >= 1) return count;
  // nearbyint: half to even in the default rounding mode.
  const double kept = std::nearbyint(keep * static_cast<double>(count));
  return std::clamp<std::size_t>(static_cast<std::size_t>(kept), 1, count);
}

float keep_threshold(std::span<const float> tensor, double keep) {
  const std::size_t kept = kept_entries(keep, tensor.size());
  if (kept == 0) return std::numeric_limits<float>::infinity();
  if (kept == tensor.size()) return 0;
  std::vector<float> magnitudes(tensor.size());
  std::transform(tensor.begin(), tensor.end(), magnitudes.begin(),
                 [](float x) { return std::abs(x); });
  const auto last = magnitudes.begin() + static_cast<std::ptrdiff_t>(kept - 1);
  std::nth_element(magnitudes.begin(), last, magnitudes.end(), std::greater<>());
  return *last;
}

void weighted_sum(std::span<const TensorTerm> terms, std::span<float> sum) {
  bool first = true;
  for (const TensorTerm& term : terms) {
    if (term.weight == 0 || term.threshold == std::numeric_limits<float>::infinity()) continue;
    const auto weight = static_cast<float>(term.weight);
    const float* x = term.values.data();
    const float threshold = term.threshold;
    if (first) {
      for (std::size_t k = 0; k < sum.size(); ++k) {
        sum[k] = std::abs(x[k]) < threshold ? 0 : weight * x[k];
      }
    } else {
      for (std::size_t k = 0; k < sum.size(); ++k) {
        sum[k] += std::abs(x[k]) < threshold ? 0 : weight * x[k];
      }
    }
    first = false;
  }
  if (first) std::fill(sum.begin(), sum.end(), 0.0F);
}

Result<LoraAdapter> merge_factors(std::span<const LoraAdapter> pool,
                                  std::span<const MergeTerm> terms) {
  auto all = parts_of(pool, terms.size());
  if (!all) return all.error();
  LoraAdapter merged{pool[0].scale, {}};
  for (const std::vector<Part>& parts : *all) {
    const LoraModule& first = *parts.front().module;
    LoraModule out{first.name, first.rank, first.inputs, first.outputs, {}, {}};
    out.a.resize(first.a.size());
    out.b.resize(first.b.size());
    std::vector<TensorTerm> a, b;
    for (const Part& part : parts) {
      if (part.module->rank != first.rank) {
        return misfit(first, "has rank " + std::to_string(first.rank) + " and, in adapter " +
                                 std::to_string(part.adapter) + ", rank " +
                                 std::to_string(part.module->rank) +
                                 "; the factor space needs equal ranks, the delta space does not");
      }
      const MergeTerm& term = terms[part.adapter];
      a.push_back({part.module->a, keep_threshold(part.module->a, term.keep), term.weight});
      b.push_back({part.module->b, 0, term.weight * relative_scale(pool, part.adapter)});
    }
    weighted_sum(a, out.a);
    weighted_sum(b, out.b);
    merged.modules.push_back(std::move(out));
  }
  return merged;
}

Result<LoraAdapter> merge_deltas(std::span<const LoraAdapter> pool,
                                 std::span<const MergeTerm> terms) {
  auto all = parts_of(pool, terms.size());
  if (!all) return all.error();
  LoraAdapter merged{pool[0].scale, {}};
  for (const std::vector<Part>& parts : *all) {
    const LoraModule& first = *parts.front().module;
    LoraModule out{first.name, 0, first.inputs, first.outputs, {}, {}};
    std::vector<Part> used;
    for (const Part& part : parts) {
      if (terms[part.adapter].weight == 0 || !(terms[part.adapter].keep > 0)) continue;
      used.push_back(part);
      out.rank += part.module->rank;
    }
    if (used.empty()) out.rank = first.rank;
    out.a.resize(out.rank * out.inputs);
    out.b.resize(out.outputs * out.rank);
    std::size_t row = 0;
    for (const Part& part : used) {
      const LoraModule& module = *part.module;
      const MergeTerm& term = terms[part.adapter];
      const TensorTerm a{module.a, keep_threshold(module.a, term.keep), 1};
      weighted_sum({&a, 1}, std::span(out.a).subspan(row * out.inputs, module.a.size()));
      const auto weight = static_cast<float>(term.weight * relative_scale(pool, part.adapter));
      for (std::size_t o = 0; o < out.outputs; ++o) {
        for (std::size_t k = 0; k < module.rank; ++k) {
          out.b[o * out.rank + row + k] = weight * module.b[o * module.rank + k];
        }
      }
      row += module.rank;
    }
    merged.modules.push_back(std::move(out));
  }
  return merged;
}

Result<LoraAdapter> pair_of(const LoraAdapter& has_b, const LoraAdapter& has_a) {
  LoraAdapter pair{has_b.scale, {}};
  for (const LoraModule& module : has_b.modules) {
    const auto other =
        std::find_if(has_a.modules.begin(), has_a.modules.end(),
                     [&module](const LoraModule& each) { return each.name == module.name; });
    if (other == has_a.modules.end()) continue;
    if (other->rank != module.rank || other->inputs != module.inputs ||
        other->outputs != module.outputs) {
      return invalid("module " + module.name + " has another rank or shape in the two adapters");
    }
    pair.modules.push_back(module);
    pair.modules.back().a = other->a;
  }
  return pair;
}

std::vector<float> delta_weight(const LoraModule& module, double scale) {
  std::vector<float> delta(module.outputs * module.inputs, 0.0F);
  const auto factor = static_cast<float>(scale);
  for (std::size_t o = 0; o < module.outputs; ++o) {
    for (std::size_t k = 0; k < module.rank; ++k) {
      const float b = factor * module.b[o * module.rank + k];
      for (std::size_t i = 0; i < module.inputs; ++i) {
        delta[o * module.inputs + i] += b * module.a[k * module.inputs + i];
      }
    }
  }
  return delta;
}

}  // namespace paretod
