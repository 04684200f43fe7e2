#include "tests/support/llm/toy_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>

#include "adapters/safetensors/safetensors_writer.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::testing {
namespace {

constexpr double decay = 0.6;
constexpr int arrow = 2;       // "->", which ends a question
constexpr int first_word = 3;  // the tokens before it are special

std::vector<double> gaussian(std::size_t count, double scale, Rng& rng) {
  std::vector<double> out(count);
  for (double& value : out) value = scale * rng.normal();
  return out;
}

/// A few large entries, and noise in all the others.
ToyFactors planted_factors(std::size_t rows, double strength, Rng& rng) {
  ToyFactors factors{rows, toy_width, {}, {}};
  std::vector<std::size_t> order(toy_rank * toy_width);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  rng.shuffle(order);
  factors.a.resize(order.size());
  const auto large =
      static_cast<std::size_t>(ToyModel::planted_alpha() * static_cast<double>(order.size()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double sign = rng.bernoulli(0.5) ? 1 : -1;
    factors.a[order[i]] = static_cast<float>(
        sign * strength * (i < large ? rng.uniform(0.8, 1.4) : rng.uniform(0.05, 0.5)));
  }
  for (const double value : gaussian(rows * toy_rank, strength, rng)) {
    factors.b.push_back(static_cast<float>(value));
  }
  return factors;
}

void add_product(const ToyFactors& factors, double scale, std::vector<double>& out) {
  const std::size_t rank = factors.a.size() / factors.columns;
  for (std::size_t row = 0; row < factors.rows; ++row) {
    for (std::size_t k = 0; k < rank; ++k) {
      const double b = scale * factors.b[row * rank + k];
      for (std::size_t column = 0; column < factors.columns; ++column) {
        out[row * factors.columns + column] += b * factors.a[k * factors.columns + column];
      }
    }
  }
}

void times(const std::vector<double>& matrix, const std::vector<double>& vector,
           std::vector<double>& out) {
  for (std::size_t row = 0; row < out.size(); ++row) {
    double sum = 0;
    for (std::size_t i = 0; i < vector.size(); ++i)
      sum += matrix[row * vector.size() + i] * vector[i];
    out[row] += sum;
  }
}

std::string answer_text(const TokenIds& tokens) {
  std::string text;
  for (const int token : tokens) text += ToyModel::piece(token);
  return text;
}

}  // namespace

std::vector<float> toy_sparsified(const std::vector<float>& tensor, double alpha) {
  alpha = std::clamp(alpha, 0.0, 1.0);
  if (alpha == 1) return tensor;
  std::vector<float> out(tensor.size(), 0.0F);
  if (alpha == 0) return out;
  std::vector<float> sorted = tensor;
  std::sort(sorted.begin(), sorted.end(),
            [](float a, float b) { return std::abs(a) > std::abs(b); });
  const double wanted = std::nearbyint(alpha * static_cast<double>(tensor.size()));
  const auto kept =
      static_cast<std::size_t>(std::clamp(wanted, 1.0, static_cast<double>(tensor.size())));
  const float threshold = std::abs(sorted[kept - 1]);
  for (std::size_t i = 0; i < tensor.size(); ++i) {
    if (std::abs(tensor[i]) >= threshold) out[i] = tensor[i];
  }
  return out;
}

ToyModel::ToyModel(const ToyOptions& options) {
  Rng rng(options.seed, 0x70f);
  embedding_ = gaussian(toy_vocabulary * toy_width, 1, rng);
  head_ = gaussian(toy_vocabulary * toy_width, 0.25, rng);
  const auto add = [&](const char* role, std::size_t count, double sign) {
    for (std::size_t i = 0; i < count; ++i) {
      ToyAdapter adapter{role + std::to_string(i), sign * rng.uniform(0.6, 1.0), {}};
      adapter.modules[toy_mix] = planted_factors(toy_width, 0.18, rng);
      adapter.modules[toy_head] = planted_factors(toy_vocabulary, 0.42, rng);
      adapters_.push_back(std::move(adapter));
    }
  };
  add("useful", options.useful, 1);
  add("useless", options.useless, 0);
  add("harmful", options.harmful, -1);
  // Nobody should find them by their place.
  rng.shuffle(adapters_);
  std::vector<double> beta;
  for (const ToyAdapter& adapter : adapters_) beta.push_back(adapter.planted_beta);
  teacher_ = merged(std::vector<double>(beta.size(), planted_alpha()), beta, options.factor_space);
}

ToyDelta ToyModel::no_delta() {
  return {std::vector<double>(toy_width * toy_width, 0.0),
          std::vector<double>(toy_vocabulary * toy_width, 0.0)};
}

ToyDelta ToyModel::delta_of(const std::map<std::string, ToyFactors>& modules, double scale) {
  ToyDelta delta = no_delta();
  for (const auto& [name, factors] : modules) {
    std::vector<double>& target = name == toy_mix ? delta.mix : delta.head;
    if ((name != toy_mix && name != toy_head) || factors.rows * factors.columns != target.size()) {
      throw std::runtime_error("the toy model has no module " + name + " of that shape");
    }
    add_product(factors, scale, target);
  }
  return delta;
}

ToyDelta ToyModel::merged(const std::vector<double>& alpha, const std::vector<double>& beta,
                          bool factor_space) const {
  const double c = toy_lora_alpha / static_cast<double>(toy_rank);
  if (!factor_space) {
    ToyDelta sum = no_delta();
    for (std::size_t i = 0; i < adapters_.size(); ++i) {
      if (beta[i] == 0) continue;
      std::map<std::string, ToyFactors> modules = adapters_[i].modules;
      for (auto& [name, factors] : modules) factors.a = toy_sparsified(factors.a, alpha[i]);
      const ToyDelta one = delta_of(modules, c * beta[i]);
      for (std::size_t k = 0; k < sum.mix.size(); ++k) sum.mix[k] += one.mix[k];
      for (std::size_t k = 0; k < sum.head.size(); ++k) sum.head[k] += one.head[k];
    }
    return sum;
  }
  std::map<std::string, ToyFactors> sums;
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    for (const auto& [name, factors] : adapters_[i].modules) {
      ToyFactors& sum = sums[name];
      if (sum.a.empty()) {
        sum = {factors.rows, factors.columns, std::vector<float>(factors.a.size()),
               std::vector<float>(factors.b.size())};
      }
      const std::vector<float> kept = toy_sparsified(factors.a, alpha[i]);
      const auto weight = static_cast<float>(beta[i]);
      for (std::size_t k = 0; k < kept.size(); ++k) sum.a[k] += weight * kept[k];
      for (std::size_t k = 0; k < factors.b.size(); ++k) sum.b[k] += weight * factors.b[k];
    }
  }
  return delta_of(sums, c);
}

TokenIds ToyModel::tokenize(std::string_view text) {
  TokenIds ids;
  std::istringstream words{std::string(text)};
  std::string word;
  while (words >> word) {
    int number = -1;
    if (word == "->") {
      ids.push_back(arrow);
    } else if (std::sscanf(word.c_str(), "w%d", &number) == 1 && number >= first_word &&
               number < static_cast<int>(toy_vocabulary)) {
      ids.push_back(number);
    } else {
      ids.push_back(first_word + static_cast<int>(std::hash<std::string>()(word) %
                                                  (toy_vocabulary - first_word)));
    }
  }
  return ids;
}

std::string ToyModel::piece(int token) {
  if (token == toy_end) return "";
  if (token == 1) return "\n";
  if (token == arrow) return " ->";
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), " w%02d", token);
  return text.data();
}

std::vector<double> ToyModel::next(const TokenIds& context, const ToyDelta& delta) const {
  std::vector<double> x(toy_width, 0.0);
  double weight = 1;
  for (std::size_t age = 0; age < std::min<std::size_t>(context.size(), 8);
       ++age, weight *= decay) {
    const auto token = static_cast<std::size_t>(context[context.size() - 1 - age]);
    for (std::size_t i = 0; i < toy_width; ++i) x[i] += weight * embedding_[token * toy_width + i];
  }
  std::vector<double> hidden = x;
  times(delta.mix, x, hidden);
  std::vector<double> logits(toy_vocabulary, 0.0);
  times(head_, hidden, logits);
  times(delta.head, hidden, logits);
  // Line ends and arrows belong to questions.
  for (const int special : {1, arrow}) logits[static_cast<std::size_t>(special)] -= 12;
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - top);
  const double norm = top + std::log(sum);
  for (double& logit : logits) logit -= norm;
  return logits;
}

TokenIds ToyModel::greedy(TokenIds context, const ToyDelta& delta, std::size_t most) const {
  TokenIds out;
  while (out.size() < most) {
    const std::vector<double> scores = next(context, delta);
    const auto best =
        static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    if (best == toy_end) break;
    out.push_back(best);
    context.push_back(best);
  }
  return out;
}

double ToyModel::loss(std::string_view prompt, std::string_view answer,
                      const ToyDelta& delta) const {
  TokenIds context = tokenize(prompt);
  const TokenIds wanted = tokenize(answer);
  double sum = 0;
  for (const int token : wanted) {
    sum -= next(context, delta)[static_cast<std::size_t>(token)];
    context.push_back(token);
  }
  return sum / static_cast<double>(wanted.size());
}

std::vector<ToyExample> toy_examples(const ToyModel& model, std::uint64_t split,
                                     std::size_t count) {
  Rng questions(0x9e57);
  Rng distractors(0x9e57, 1 + split);
  const auto word = [](Rng& rng) {
    return first_word + static_cast<int>(rng.below(toy_vocabulary - first_word));
  };
  std::vector<ToyExample> out;
  std::set<std::string> seen;
  while (out.size() < count) {
    TokenIds question;
    while (question.size() < 5) question.push_back(word(questions));
    question.push_back(arrow);
    ToyExample example{answer_text(question).substr(1), "", {}};
    // Dealt out in turn, before anybody knows their answers.
    if (!seen.insert(example.prompt).second || seen.size() % toy_splits != split) continue;
    const TokenIds answer = model.greedy(question, model.teacher(), 2);
    // Two words, so that every scorer has something to do.
    if (answer.size() < 2) continue;
    example.answer = answer_text(answer).substr(1);
    example.choices = {example.answer};
    while (example.choices.size() < 4) {
      std::string other = answer_text(TokenIds{word(distractors), word(distractors)}).substr(1);
      if (std::find(example.choices.begin(), example.choices.end(), other) ==
          example.choices.end()) {
        example.choices.push_back(std::move(other));
      }
    }
    distractors.shuffle(example.choices);
    out.push_back(std::move(example));
  }
  return out;
}

void write_toy_files(const ToyModel& model, const std::string& folder, std::size_t search,
                     std::size_t select, std::size_t report) {
  namespace fs = std::filesystem;
  const auto bytes = [](const std::vector<float>& values) {
    return std::as_bytes(std::span<const float>(values));
  };
  for (const ToyAdapter& adapter : model.adapters()) {
    const fs::path home = fs::path(folder) / "adapters" / adapter.name;
    fs::create_directories(home);
    std::vector<TensorLayout> layouts;
    std::vector<const std::vector<float>*> values;
    for (const auto& [name, factors] : adapter.modules) {
      layouts.push_back(
          {"base_model.model." + name + ".lora_A.weight", DType::f32, {toy_rank, factors.columns}});
      values.push_back(&factors.a);
      layouts.push_back(
          {"base_model.model." + name + ".lora_B.weight", DType::f32, {factors.rows, toy_rank}});
      values.push_back(&factors.b);
    }
    auto writer = SafetensorsWriter::create(home.string(), layouts, 1U << 30U, {{"format", "pt"}});
    if (!writer) throw std::runtime_error(writer.error().text());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (auto done = writer->write(i, 0, bytes(*values[i])); !done) {
        throw std::runtime_error(done.error().text());
      }
    }
    if (auto done = writer->commit(); !done) throw std::runtime_error(done.error().text());
    fs::rename(home / "model.safetensors", home / "adapter_model.safetensors");
    std::ofstream(home / "adapter_config.json") << nlohmann::json{
        {"peft_type", "LORA"},
        {"r", toy_rank},
        {"lora_alpha", toy_lora_alpha},
        {"target_modules", {"mix", "head"}},
        {"base_model_name_or_path", "toy"}}.dump(1);
  }
  const std::pair<const char*, std::size_t> splits[] = {
      {"search", search}, {"select", select}, {"report", report}};
  for (std::size_t i = 0; i < std::size(splits); ++i) {
    std::ofstream file(fs::path(folder) / (std::string(splits[i].first) + ".jsonl"));
    for (const ToyExample& example : toy_examples(model, i, splits[i].second)) {
      file << nlohmann::json{{"prompt", example.prompt},
                             {"answer", example.answer},
                             {"choices", example.choices}}
                  .dump()
           << "\n";
    }
  }
}

}  // namespace paretod::testing
