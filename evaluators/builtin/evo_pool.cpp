#include "evaluators/builtin/evo_pool.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr std::size_t wide = EvoPool::modules * EvoPool::inputs;
constexpr std::size_t module_size = EvoPool::inputs * EvoPool::classes;

constexpr std::size_t target_skills = 4;
constexpr std::size_t shared_skills = 2;  // by the two targets
constexpr std::size_t other_skills = 6;   // that adapters have and no target needs
constexpr std::size_t inputs_per_skill = 8;
constexpr double skill_gain = 2.5;
constexpr double side = 0.5;                             // of what an adapter knows besides
constexpr double common_noise = 0.06, own_noise = 0.12;  // of an entry of A; a skill's are 0.56
constexpr double output_noise = 0.05;                    // of an entry of B

struct Skill {
  std::size_t direction;              ///< which of the rank's
  std::vector<double> reads, writes;  ///< modules * inputs, modules * classes
};

Skill draw_skill(std::size_t direction, Rng& rng) {
  Skill skill{direction, std::vector<double>(wide, 0.0), {}};
  for (std::size_t m = 0; m < EvoPool::modules; ++m) {
    double norm = 0;
    for (std::size_t c = 0; c < EvoPool::classes; ++c) {
      skill.writes.push_back(rng.normal());
      norm += skill.writes.back() * skill.writes.back();
    }
    for (std::size_t c = 0; c < EvoPool::classes; ++c) {
      skill.writes[m * EvoPool::classes + c] *= std::sqrt(skill_gain / norm);
    }
    std::vector<std::size_t> order(EvoPool::inputs);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    rng.shuffle(order);
    const double entry = std::sqrt(skill_gain / inputs_per_skill);
    for (std::size_t k = 0; k < inputs_per_skill; ++k) {
      skill.reads[m * EvoPool::inputs + order[k]] = rng.bernoulli(0.5) ? entry : -entry;
    }
  }
  return skill;
}

/// The change of the weights, inputs x classes per module.
using Change = std::vector<float>;

void add(Change& sum, const Skill& skill) {
  for (std::size_t i = 0; i < wide; ++i) {
    for (std::size_t c = 0; c < EvoPool::classes; ++c) {
      sum[i * EvoPool::classes + c] += static_cast<float>(
          skill.reads[i] * skill.writes[i / EvoPool::inputs * EvoPool::classes + c]);
    }
  }
}

void add(LoraAdapter& adapter, const Skill& skill, double reads, double writes) {
  for (std::size_t m = 0; m < EvoPool::modules; ++m) {
    LoraModule& module = adapter.modules[m];
    for (std::size_t i = 0; i < EvoPool::inputs; ++i) {
      module.a[skill.direction * EvoPool::inputs + i] +=
          static_cast<float>(reads * skill.reads[m * EvoPool::inputs + i]);
    }
    for (std::size_t c = 0; c < EvoPool::classes; ++c) {
      module.b[c * EvoPool::rank + skill.direction] +=
          static_cast<float>(writes * skill.writes[m * EvoPool::classes + c]);
    }
  }
}

using Logits = std::array<float, EvoPool::classes>;

void add_logits(const float* x, const Change& weights, Logits& logits) {
  for (std::size_t i = 0; i < wide; ++i) {
    for (std::size_t c = 0; c < EvoPool::classes; ++c) {
      logits[c] += x[i] * weights[i * EvoPool::classes + c];
    }
  }
}

float cross_entropy(const Logits& logits, std::size_t label) {
  const float top = *std::max_element(logits.begin(), logits.end());
  float sum = 0;
  for (const float z : logits) sum += std::exp(z - top);
  return top + std::log(sum) - logits[label];
}

std::size_t draw_label(const Logits& logits, Rng& rng) {
  const float top = *std::max_element(logits.begin(), logits.end());
  std::array<double, EvoPool::classes> cumulated{};
  double sum = 0;
  for (std::size_t c = 0; c < EvoPool::classes; ++c) {
    sum += std::exp(static_cast<double>(logits[c] - top));
    cumulated[c] = sum;
  }
  const double at = rng.uniform() * sum;
  std::size_t label = 0;
  while (label + 1 < EvoPool::classes && cumulated[label] <= at) ++label;
  return label;
}

}  // namespace

EvoPool::EvoPool(std::size_t adapters, std::size_t informative, std::size_t harmful,
                 std::uint64_t seed) {
  Rng rng(seed);
  constexpr std::size_t wanted = tasks * target_skills - shared_skills;
  std::vector<Skill> skills;  // the first target needs 0 to 3, the second one 2 to 5
  for (std::size_t k = 0; k < wanted; ++k) skills.push_back(draw_skill(k, rng));
  std::vector<Skill> others;
  for (std::size_t k = 0; k < other_skills; ++k) others.push_back(draw_skill(rng.below(rank), rng));
  Change base(modules * module_size);
  for (float& w : base) w = static_cast<float>(0.15 * rng.normal());
  std::vector<float> common;
  for (std::size_t i = 0; i < rank * wide; ++i) {
    common.push_back(static_cast<float>(common_noise * rng.normal()));
  }

  for (std::size_t i = 0; i < adapters; ++i) {
    kinds_.push_back(i < informative             ? Kind::informative
                     : i < informative + harmful ? Kind::harmful
                                                 : Kind::useless);
  }
  rng.shuffle(kinds_);
  std::size_t informed = 0, harmed = 0;
  for (std::size_t i = 0; i < adapters; ++i) {
    Rng own(seed, i + 1);
    LoraAdapter adapter;
    for (std::size_t m = 0; m < modules; ++m) {
      LoraModule module{"module" + std::to_string(m), rank, inputs, classes, {}, {}};
      for (std::size_t k = 0; k < rank * inputs; ++k) {
        module.a.push_back(common[m * rank * inputs + k] +
                           static_cast<float>(own_noise * own.normal()));
      }
      for (std::size_t k = 0; k < classes * rank; ++k) {
        module.b.push_back(static_cast<float>(output_noise * own.normal()));
      }
      adapter.modules.push_back(std::move(module));
    }
    if (kinds_[i] == Kind::informative) {
      add(adapter, skills[informed % target_skills], 1, 1);
      // Every other one knows something that only the second target needs.
      const std::size_t second = informed % 2 == 0 ? (informed + 1) % target_skills
                                                   : target_skills + informed / 2 % shared_skills;
      add(adapter, skills[second], side, side);
      ++informed;
    } else if (kinds_[i] == Kind::harmful) {
      add(adapter, skills[harmed++ % target_skills], 1, -1);
    } else {
      add(adapter, others[own.below(other_skills)], 1, 1);
    }
    add(adapter, others[own.below(other_skills)], side, side);
    for (const LoraModule& module : adapter.modules) {
      std::vector<float> magnitudes(module.a);
      for (float& x : magnitudes) x = std::abs(x);
      std::sort(magnitudes.begin(), magnitudes.end(), std::greater<>());
      magnitudes_.push_back(std::move(magnitudes));
    }
    pool_.push_back(std::move(adapter));
  }

  std::array<Change, tasks> targets;
  for (std::size_t task = 0; task < tasks; ++task) {
    targets[task] = base;
    for (std::size_t k = 0; k < target_skills; ++k) {
      add(targets[task], skills[task * (target_skills - shared_skills) + k]);
    }
  }
  for (std::size_t split = 0; split < splits; ++split) {
    Rng draws(seed, split + 1, 1);
    Examples& examples = examples_[split];
    const auto count = static_cast<double>(split_sizes[split]);
    for (std::size_t n = 0; n < split_sizes[split]; ++n) {
      for (std::size_t i = 0; i < wide; ++i) {
        examples.x.push_back(static_cast<float>(draws.normal()));
      }
      const float* x = examples.x.data() + n * wide;
      Logits logits{};
      add_logits(x, base, logits);
      examples.logits.insert(examples.logits.end(), logits.begin(), logits.end());
      for (std::size_t task = 0; task < tasks; ++task) {
        Logits truth{};
        add_logits(x, targets[task], truth);
        const std::size_t label = draw_label(truth, draws);
        examples.labels[task].push_back(static_cast<std::uint8_t>(label));
        examples.base_loss[task] += static_cast<double>(cross_entropy(logits, label)) / count;
        examples.true_loss[task] += static_cast<double>(cross_entropy(truth, label)) / count;
      }
    }
  }
}

void EvoPool::losses(std::span<const MergeTerm> terms, bool factor_space, std::size_t task,
                     std::size_t split, std::size_t first, std::span<float> losses) const {
  Change change(modules * module_size, 0.0F);
  const auto add_product = [](const float* a, const float* b, float weight, float* out) {
    for (std::size_t k = 0; k < rank; ++k) {
      for (std::size_t i = 0; i < inputs; ++i) {
        const float x = weight * a[k * inputs + i];
        for (std::size_t c = 0; c < classes; ++c) out[i * classes + c] += x * b[c * rank + k];
      }
    }
  };
  std::vector<TensorTerm> a, b;
  std::vector<float> a_sum(rank * inputs), b_sum(classes * rank);
  for (std::size_t m = 0; m < modules; ++m) {
    a.clear();
    b.clear();
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      const LoraModule& module = pool_[i].modules[m];
      const std::size_t kept = kept_entries(terms[i].keep, module.a.size());
      const float threshold = kept == 0 ? std::numeric_limits<float>::infinity()
                                        : magnitudes_[i * modules + m][kept - 1];
      a.push_back({module.a, threshold, factor_space ? terms[i].weight : 1});
      b.push_back({module.b, 0, terms[i].weight});
    }
    float* out = change.data() + m * module_size;
    if (factor_space) {
      weighted_sum(a, a_sum);
      weighted_sum(b, b_sum);
      add_product(a_sum.data(), b_sum.data(), 1, out);
      continue;
    }
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      if (terms[i].weight == 0) continue;
      weighted_sum({&a[i], 1}, a_sum);
      add_product(a_sum.data(), pool_[i].modules[m].b.data(), static_cast<float>(terms[i].weight),
                  out);
    }
  }
  const Examples& examples = examples_[split];
  for (std::size_t k = 0; k < losses.size(); ++k) {
    const std::size_t n = (first + k) % split_sizes[split];
    Logits logits;
    std::copy_n(examples.logits.begin() + static_cast<std::ptrdiff_t>(n * classes), classes,
                logits.begin());
    add_logits(examples.x.data() + n * wide, change, logits);
    losses[k] = cross_entropy(logits, examples.labels[task][n]);
  }
}

double EvoPool::base_loss(std::size_t task, std::size_t split) const {
  return examples_[split].base_loss[task];
}

double EvoPool::true_loss(std::size_t task, std::size_t split) const {
  return examples_[split].true_loss[task];
}

}  // namespace paretod
